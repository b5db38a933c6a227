"""Beam search with known candidates, without a model."""

import numpy as np
from absl.testing import absltest

from flan_tf.inference import beam_search, stop_strings
from flan_tf.sampling import Sampling

END = 0


def search(width: int, max_new: int = 4, stops=()) -> beam_search.BeamSearch:
  def letters(ids) -> str:
    return "".join(map(chr, ids))

  return beam_search.BeamSearch(
    Sampling(beams=width),
    (END,),
    max_new,
    lambda: stop_strings.Continuation((END,), stops, letters),
  )


class SearchTest(absltest.TestCase):
  def test_stops_that_end_most_candidates_leave_the_others(self):
    """All candidates but "a" have a stop string: one of two beams is left."""
    found = search(2, stops=(".",))
    width = beam_search.candidate_count(2, 1)
    ids = np.array([[ord(c) for c in "a."] + [ord(".")] * (width - 2)] * 2)
    log_probs = np.log(np.linspace(0.6, 0.1, width))[np.newaxis].repeat(2, 0)
    found.add(log_probs, ids)
    self.assertFalse(found.finished)
    self.assertEqual(found.tokens.tolist(), [ord("a"), 0])
    found.add(log_probs, ids)
    self.assertEqual(found.parents.tolist(), [0, 0])
    while not found.finished:
      found.add(log_probs, ids)
    self.assertEqual(found.best, [ord("a")] * 4)

  def test_the_best_path_is_not_the_best_first_token(self):
    """Token 1, then 3, has 0.6 * 0.3; token 2, then 4, has 0.4 * 0.9."""
    found = search(2, max_new=2)
    width = beam_search.candidate_count(2, 1)

    def candidates(*pairs):
      rest = [(1e-9, 9)] * (width - len(pairs))
      odds, ids = zip(*pairs, *rest, strict=True)
      return np.log(odds), ids

    first, ids = candidates((0.6, 1), (0.4, 2))
    found.add(np.array([first, first]), np.array([ids, ids]))
    after_a, after_b = candidates((0.3, 3)), candidates((0.9, 4))
    found.add(
      np.array([after_a[0], after_b[0]]), np.array([after_a[1], after_b[1]])
    )
    self.assertTrue(found.finished)
    self.assertEqual(found.best, [2, 4])


if __name__ == "__main__":
  absltest.main()
