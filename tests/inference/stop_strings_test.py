"""The end of continuations, streamed text, and the best beam."""

import numpy as np
from absl.testing import absltest

from flan_tf import sampling
from flan_tf.inference import beam_search, stop_strings


def spell(ids) -> str:
  return "".join(map(chr, ids))


class ContinuationTest(absltest.TestCase):
  def continuation(self, ends=(0,), stops=()):
    return stop_strings.Continuation(ends, stops, spell)

  def test_an_end_is_the_last_id(self):
    row = self.continuation()
    row.add([97, 98])
    self.assertFalse(row.finished)
    row.add([99, 0, 100])
    row.add([101])
    self.assertEqual((row.ids, row.finished), ([97, 98, 99, 0], True))

  def test_a_stop_string_may_come_in_two_parts(self):
    row = self.continuation(stops=["xx", "cde"])
    row.add(map(ord, "abcd"))
    self.assertFalse(row.finished)
    row.add(map(ord, "efcde"))
    self.assertEqual((spell(row.ids), row.finished), ("abcde", True))
    self.assertEqual(
      stop_strings.text_before_stop("abcdefxx", ["xx", "cde"]), "ab"
    )

  def test_what_is_shown_never_changes(self):
    parts = []
    shown = stop_strings.StreamedText(["END"], spell, parts.append)
    text = "an ENd, EN END and"
    for size in range(len(text)):
      shown.update(list(map(ord, text[:size])))
    shown.update(list(map(ord, text)), final=True)
    self.assertEqual("".join(parts), "an ENd, EN ")
    self.assertNotIn("EN", parts)

  def test_half_a_character_waits(self):
    parts = []
    shown = stop_strings.StreamedText(
      [], lambda ids: bytes(ids).decode("utf-8", "replace"), parts.append
    )
    whole = "aä漢".encode()
    for size in range(len(whole) + 1):
      shown.update(list(whole[:size]))
    self.assertEqual(parts, ["a", "ä", "漢"])

  def test_an_empty_stop_string_is_refused(self):
    with self.assertRaisesRegex(
      ValueError, r"\['a', ''\] contain an empty text"
    ):
      stop_strings.check_stops(["a", ""])


class SearchTest(absltest.TestCase):
  """Two beams, computed by hand; token 0 ends a text."""

  def search(self, length_penalty: float) -> beam_search.BeamSearch:
    how = sampling.Sampling(beams=2, length_penalty=length_penalty)
    return beam_search.BeamSearch(
      how, [0], 3, lambda: stop_strings.Continuation([0], (), str)
    )

  def add(self, search, *rows):
    ids = np.array([[token for token, _ in row] for row in rows])
    search.add(np.log([[p for _, p in row] for row in rows]), ids)

  def run_search(self, length_penalty: float) -> beam_search.BeamSearch:
    search = self.search(length_penalty)
    first = [(5, 0.6), (6, 0.3), (0, 0.09), (7, 0.01)]
    self.add(search, first, first)
    self.assertEqual(search.tokens.tolist(), [5, 6])
    self.assertEqual(search.parents.tolist(), [0, 0])
    # 5 6: 0.3, 6 0: 0.27, 5 0: 0.24, 6 5: 0.024
    self.add(
      search,
      [(6, 0.5), (0, 0.4), (7, 0.05), (8, 0.05)],
      [(0, 0.9), (5, 0.08), (7, 0.01), (8, 0.01)],
    )
    return search

  def test_ends_beyond_the_beams_do_not_count(self):
    search = self.run_search(0.0)
    self.assertEqual(search.best, [6, 0])
    self.assertFalse(search.finished)
    self.assertEqual(search.tokens.tolist(), [6, 7])

  def test_the_last_token_ends_all(self):
    search = self.run_search(2.0)
    self.add(
      search,
      [(9, 0.99), (0, 0.004), (7, 0.003), (8, 0.003)],
      [(9, 0.99), (0, 0.004), (7, 0.003), (8, 0.003)],
    )
    self.assertTrue(search.finished)
    self.assertEqual(search.best, [5, 6, 9])  # length ^ 2 prefers long texts.


if __name__ == "__main__":
  absltest.main()
