"""Predictions that were edited, cut or flipped are noticed.

An evaluation that resumes asks for them again; a report refuses the file.
"""

import json
import os
import pathlib

from absl.testing import absltest, parameterized

from flan_tf.eval import log_format, prediction_log
from flan_tf.eval.scored_prediction import ScoredPrediction
from tests.helpers.fake_predictions import scored

HEADER = {"checkpoint": "runs/a", "seed": 0, "score": "sum"}
PREDICTIONS = [
  scored(row=row, prompt=f"Frage {row}: süß?", answer=f"ja {row}", score=row)
  for row in range(5)
]
LOGGER = "flan_tf.eval.prediction_log"
REFUSED = prediction_log.PredictionLogError


def numbers_of(kept: prediction_log.PredictionLogWriter) -> list[int]:
  """Returns the chunks that need not be asked again, after a comparison."""
  numbers = []
  for number in range(len(kept)):
    found = kept.read(number)
    if found is not None:
      places = kept.requests_of(number)
      assert found == PREDICTIONS[places.start : places.stop]
      numbers.append(number)
  return numbers


class _LogTest(parameterized.TestCase):
  """Has a finished log of three chunks, and the means to damage it."""

  def setUp(self):
    super().setUp()
    prediction_log._note_without_checksums.cache_clear()
    self.folder = self.create_tempdir().full_path
    self.path = pathlib.Path(self.folder, "rte.jsonl")
    self.fill(self.open()).finish()
    self.content = self.path.read_bytes()
    # Two requests in each chunk, one in the last.
    self.header, *self.lines = self.content.splitlines(keepends=True)

  def open(self, **header) -> prediction_log.PredictionLogWriter:
    return prediction_log.PredictionLogWriter(
      self.folder, "rte", {**HEADER, **header}, requests=5, chunk=2
    )

  def fill(self, opened, numbers=range(3)):
    for number in numbers:
      places = opened.requests_of(number)
      opened.write(number, PREDICTIONS[places.start : places.stop])
    return opened

  def read(self) -> tuple[ScoredPrediction, ...]:
    return prediction_log.read_log(self.folder, "rte").predictions


class DamagedTest(_LogTest):
  def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(self):
    noticed = 0
    for place in range(len(self.content)):
      flipped = bytearray(self.content)
      flipped[place] ^= 1 << place % 8
      self.path.write_bytes(flipped)
      try:
        self.assertSequenceEqual(self.read(), PREDICTIONS, f"byte {place}")
      except REFUSED as error:
        self.assertIn(str(self.path), str(error))
        noticed += 1
    # The last line end alone may be another byte of white space.
    self.assertGreaterEqual(noticed, len(self.content) - 1)

  def test_a_flipped_bit_leaves_the_other_chunks(self):
    for place in range(0, len(self.content), 7):
      flipped = bytearray(self.content)
      flipped[place] ^= 1 << place % 8
      self.path.write_bytes(flipped)
      with self.subTest(place), self.assertLogs(LOGGER, "WARNING") as logs:
        # A line end between two chunks belongs to both.
        self.assertNotEmpty(numbers_of(self.open()))
        self.assertIn(str(self.path), logs.output[0])

  def test_a_damaged_chunk_is_asked_again_and_named(self):
    lines = [*self.lines]
    lines[3] = lines[3].replace(b'"score": 2', b'"score": 9')
    self.path.write_bytes(b"".join([self.header, *lines]))
    with self.assertRaisesRegex(
      REFUSED,
      r"rte.jsonl was edited or cut .* 1 of 3 chunks cannot be trusted, it is"
      r" chunk 1 \(requests 2 to 3\)\. .*same --output",
    ):
      self.read()
    with self.assertLogs(LOGGER, "WARNING") as logs:
      opened = self.open()
    self.assertRegex(
      logs.output[0], r"rte.jsonl was .* 1 of 3 chunks .* is asked again"
    )
    self.assertEqual(numbers_of(opened), [0, 2])
    self.fill(opened, [1]).finish()
    self.assertEqual(self.path.read_bytes(), self.content)
    self.assertEqual(os.listdir(self.folder), ["rte.jsonl"])

  @parameterized.named_parameters(
    ("a_line_less", [0, 2, 3, 4, 5, 6, 7], [1, 2]),
    ("a_line_more", [0, 0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2]),
    ("a_checksum_less", [0, 1, 3, 4, 5, 6, 7], [1, 2]),
    ("the_end_is_missing", [0, 1, 2, 3], [0]),
    ("two_lines_are_exchanged", [0, 1, 2, 4, 3, 5, 6, 7], [0, 2]),
    ("a_chunk_takes_the_place_of_another", [0, 1, 2, 0, 1, 2, 6, 7], [0, 2]),
  )
  def test_lines_that_were_moved(self, order, kept):
    lines = [self.lines[index] for index in order]
    self.path.write_bytes(b"".join([self.header, *lines]))
    with self.assertRaisesRegex(REFUSED, "rte.jsonl was edited or cut"):
      self.read()
    with self.assertLogs(LOGGER, "WARNING"):
      opened = self.open()
    self.assertEqual(numbers_of(opened), kept)
    self.fill(opened, {*range(3)} - {*kept}).finish()
    self.assertEqual(self.path.read_bytes(), self.content)

  def test_a_cut_at_any_place(self):
    for size in range(0, len(self.content) - 1, 11):
      self.path.write_bytes(self.content[:size])
      with self.subTest(size):
        with self.assertRaisesRegex(REFUSED, "rte.jsonl"):
          self.read()
        with self.assertLogs(LOGGER, "WARNING"):
          opened = self.open()
        self.assertNotIn(2, numbers_of(opened))

  def test_a_damaged_header_loses_no_prediction(self):
    for first in (self.header.replace(b"seed", b"sead"), b"\n", b"\xff\n"):
      self.path.write_bytes(first + b"".join(self.lines))
      with self.assertRaisesRegex(REFUSED, "rte.jsonl .*the header, is damag"):
        self.read()
      with self.assertLogs(LOGGER, "WARNING") as logs:
        opened = self.open()
      self.assertIn("All predictions are whole", logs.output[0])
      self.assertEqual(numbers_of(opened), [0, 1, 2])
      opened.finish()
      self.assertEqual(self.path.read_bytes(), self.content)

  def test_a_damaged_file_of_a_chunk_is_asked_again_and_named(self):
    self.path.unlink()
    self.fill(self.open())
    parts = pathlib.Path(self.folder, "rte.parts")
    damaged = parts / "00001.jsonl"
    whole = damaged.read_bytes()
    for content in (
      whole.replace(b"ja 2", b"ja 3"),
      whole[:-9],
      b"",
      (parts / "00000.jsonl").read_bytes(),
    ):
      damaged.write_bytes(content)
      with self.assertLogs(LOGGER, "WARNING") as logs:
        self.assertEqual(numbers_of(self.open()), [0, 2])
      self.assertLen(logs.output, 1)
      self.assertRegex(logs.output[0], "00001.jsonl was .* chunk 1")

  def test_a_chunk_of_another_evaluation_is_not_taken(self):
    other = {"schema": 2, **HEADER, "seed": 1, "requests": 5, "chunk": 2}
    foreign = log_format.render(other, {0: PREDICTIONS[:2]}).splitlines(True)
    lines = [self.header, *foreign[1:], *self.lines[3:]]
    self.path.write_bytes(b"".join(lines))
    with self.assertRaisesRegex(REFUSED, r"chunk 0 \(requests 0 to 1\)"):
      self.read()

  def test_a_later_schema_is_refused(self):
    later = {"schema": 3, **HEADER, "requests": 5, "chunk": 2}
    self.path.write_bytes(log_format.render(later, {}))
    for open_it in (self.read, self.open):
      with self.assertRaisesRegex(REFUSED, "rte.jsonl .*schema 3.* reads 1 t"):
        open_it()

  def test_lines_of_another_version_are_refused(self):
    with self.assertRaisesRegex(ValueError, "key 'row' is missing"):
      ScoredPrediction.from_json({"part": "test", "template": 0})
    line = PREDICTIONS[0].to_json()
    with self.assertRaisesRegex(ValueError, "key 'more' is unknown"):
      ScoredPrediction.from_json({**line, "more": 1})
    with self.assertRaisesRegex(ValueError, "key 'row' is '7'; expected"):
      ScoredPrediction.from_json({**line, "row": "7"})


class EarlierSchemaTest(_LogTest):
  """Logs of schema 1, which had no checksums, open and resume."""

  def setUp(self):
    super().setUp()
    header = json.loads(self.header)["header"] | {"schema": 1}
    self.first = json.dumps({"header": header}).encode() + b"\n"
    self.old_lines = [x for x in self.lines if not x.startswith(b'{"chunk"')]
    self.path.write_bytes(b"".join([self.first, *self.old_lines]))

  def test_they_open_with_one_note(self):
    before = self.path.read_bytes()
    self.assertSequenceEqual(self.read(), PREDICTIONS)
    with self.assertLogs(LOGGER, "WARNING") as logs:
      for _ in range(2):
        opened = self.open()
        self.assertEqual(numbers_of(opened), [0, 1, 2])
        opened.finish()
    self.assertLen(logs.output, 1)
    self.assertIn("an earlier version, without checksums", logs.output[0])
    self.assertEqual(self.path.read_bytes(), before)

  def test_they_resume(self):
    for name, lines in (("0", self.old_lines[:2]), ("2", self.old_lines[4:])):
      part = pathlib.Path(self.folder, "rte.parts", f"0000{name}.jsonl")
      part.parent.mkdir(exist_ok=True)
      part.write_bytes(b"".join([self.first, *lines]))
    self.path.unlink()
    with self.assertLogs(LOGGER, "WARNING") as logs:
      opened = self.open()
      self.assertEqual(numbers_of(opened), [0, 2])
      self.fill(opened, [1]).finish()
    self.assertLen(logs.output, 1)
    self.assertEqual(self.path.read_bytes(), self.content)

  def test_another_evaluation_is_refused(self):
    with self.assertRaisesRegex(REFUSED, "seed is 1 now, was 0"):
      self.open(seed=1)

  def test_one_that_was_cut_at_a_line_is_refused_and_resumes(self):
    self.path.write_bytes(b"".join([self.first, *self.old_lines[:3]]))
    with self.assertRaisesRegex(
      REFUSED, r"rte.jsonl was .* 2 of 3 chunks .* the first is chunk 1"
    ):
      self.read()
    with self.assertLogs(LOGGER, "WARNING"):
      self.assertEqual(numbers_of(self.open()), [0])

  def test_a_line_that_is_not_json(self):
    lines = [*self.old_lines]
    lines[2] = b"\xff" + lines[2]
    self.path.write_bytes(b"".join([self.first, *lines]))
    with self.assertRaisesRegex(REFUSED, "rte.jsonl was .* chunk 1"):
      self.read()
    with self.assertLogs(LOGGER, "WARNING"):
      self.assertEqual(numbers_of(self.open()), [0])

  def test_two_answers_to_one_question(self):
    lines = [self.old_lines[1], *self.old_lines[1:]]
    self.path.write_bytes(b"".join([self.first, *lines]))
    with self.assertRaisesRegex(REFUSED, "rte.jsonl .*answer the same row"):
      self.read()


if __name__ == "__main__":
  absltest.main()
