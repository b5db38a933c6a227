"""Prediction logs: complete chunks are read back, incomplete ones are not."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf.eval import prediction_log
from flan_tf.eval.scored_prediction import ScoredPrediction
from tests.helpers.fake_predictions import scored

HEADER = {"checkpoint": "runs/a", "seed": 0, "score": "sum"}


def choice(row: int, **changes) -> ScoredPrediction:
  return scored(
    **{
      **dict(
        part="test", template=1, row=row, prompt="Is it?\n\u2028\U0001f600"
      ),
      **dict(exemplars=0, trimmed=False, answer="yes", references=("yes",)),
      **dict(group="", right=True, score=100.0, options=("no", "yes")),
      **dict(answer_index=1, choice=1, scores=(-2.5, -0.1), values=(-2.5, -1)),
      **changes,
    }
  )


def text(row: int) -> ScoredPrediction:
  return scored(
    part="dev",
    template=0,
    row=row,
    prompt="Translate.",
    exemplars=2,
    trimmed=True,
    answer='The "house"\nis small.',
    references=("A house.", "The house."),
    group="",
    right=None,
    score=1 / 3,
  )


LINES = [choice(row) for row in range(5)]


class PredictionLogTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.output = self.create_tempdir().full_path
    self.folder = prediction_log.folder_of(self.output, "tuned")

  def open(
    self, requests=5, chunk=2, task="rte", **header
  ) -> prediction_log.PredictionLogWriter:
    return prediction_log.PredictionLogWriter(
      self.folder, task, {**HEADER, **header}, requests, chunk
    )

  def written(self, *chunks: int) -> prediction_log.PredictionLogWriter:
    opened = self.open()
    for number in chunks:
      places = opened.requests_of(number)
      opened.write(number, LINES[places.start : places.stop])
    return opened

  def path(self, name: str) -> pathlib.Path:
    return pathlib.Path(self.folder, name)

  def test_the_drawing(self):
    self.written(0, 1)
    self.assertEqual(
      sorted(os.listdir(self.path("rte.parts"))), ["00000.jsonl", "00001.jsonl"]
    )
    opened = self.written(2)
    opened.finish()
    self.assertEqual(os.listdir(self.folder), ["rte.jsonl"])
    lines = self.path("rte.jsonl").read_text().split("\n")[:-1]
    first, *others = map(json.loads, lines)
    self.assertEqual(first["header"]["schema"], 2)
    self.assertEqual(first["header"]["seed"], 0)
    self.assertLen(first["sha256"], 64)
    # Chunks of 2, 2 and 1 predictions, a checksum after each.
    self.assertEqual(
      [line["chunk"]["number"] if "chunk" in line else "" for line in others],
      ["", "", 0, "", "", 1, "", 2],
    )
    self.assertContainsSubset(
      {"part": "test", "template": 1, "row": 0, "options": ["no", "yes"]},
      others[0],
    )

  def test_chunks(self):
    opened = self.open()
    self.assertLen(opened, 3)
    self.assertEqual(
      [opened.requests_of(n) for n in range(3)],
      [range(2), range(2, 4), range(4, 5)],
    )
    self.assertEmpty(self.open(requests=0))

  def test_what_is_written_is_read(self):
    opened = self.open(requests=2)
    lines = [choice(3), text(4)]
    opened.write(0, lines)
    self.assertEqual(self.open(requests=2).read(0), lines)
    opened.finish()
    self.assertEqual(self.open(requests=2).read(0), lines)
    log = prediction_log.read_log(self.folder, "rte")
    self.assertEqual(log.predictions, tuple(lines))
    self.assertContainsSubset(
      {**HEADER, "task": "rte", "requests": 2}, log.header
    )

  def test_a_generation_has_no_options_in_its_line(self):
    self.assertNotIn("options", text(0).to_json())
    self.assertEqual(ScoredPrediction.from_json(text(0).to_json()), text(0))

  def test_numbers_keep_their_value(self):
    random = np.random.default_rng(0)
    scores = tuple((-random.exponential(size=200) * 10.0**-3).tolist())
    scores += (5e-324, 0.1 + 0.2, float(np.float32(-1.1)))
    opened = self.open(requests=1)
    opened.write(0, [choice(0, scores=scores)])
    (line,) = self.open(requests=1).read(0) or []
    self.assertEqual(line.prediction.log_probs, scores)

  def test_chunks_that_are_there_are_not_asked_again(self):
    self.written(0, 2)
    again = self.open()
    self.assertEqual(again.read(0), LINES[:2])
    self.assertIsNone(again.read(1))
    self.assertEqual(again.read(2), LINES[4:])

  def test_what_was_cut_short_is_dropped_with_its_chunk(self):
    self.written(0, 1)
    path = self.path("rte.parts") / "00001.jsonl"
    whole = path.read_bytes()
    for size in (len(whole) - 5, whole.rindex(b"\n", 0, -1) + 1, 30, 0):
      with self.subTest(size):
        path.write_bytes(whole[:size])
        again = self.open()
        self.assertEqual(again.read(0), LINES[:2])
        self.assertIsNone(again.read(1))
    # A chunk that is being written has a temporary name.
    path.rename(f"{path}.tmp")
    self.assertIsNone(self.open().read(1))

  def test_a_done_task_that_was_cut_short_goes_on(self):
    self.written(0, 1, 2).finish()
    path = self.path("rte.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 500])
    again = self.open()
    self.assertEqual(again.read(0), LINES[:2])
    self.assertIsNone(again.read(2))
    for number in range(len(again)):
      places = again.requests_of(number)
      again.write(number, LINES[places.start : places.stop])
    again.finish()
    self.assertEqual(path.read_bytes(), whole)

  def test_parts_that_a_stopped_run_left_behind_are_removed(self):
    self.written(0, 1, 2)
    parts = self.path("rte.parts")
    shutil.copytree(parts, self.path("kept"))
    self.open().finish()
    self.path("kept").rename(parts)
    self.open()
    self.assertEqual(os.listdir(self.folder), ["rte.jsonl"])

  def test_folders_need_not_be_local(self):
    """Files are never appended to, which object stores could not do."""
    self.folder = prediction_log.folder_of("ram://journal/out", "tuned")
    self.written(1, 0)
    self.written(2).finish()
    log = prediction_log.read_log(self.folder, "rte")
    self.assertEqual(log.predictions, tuple(LINES))
    self.assertEqual(self.open().read(1), LINES[2:4])

  def test_order_of_writing_does_not_matter(self):
    self.written(0, 1, 2).finish()
    whole = self.path("rte.jsonl").read_bytes()
    self.path("rte.jsonl").unlink()
    self.written(2, 0)
    self.written(1).finish()
    self.assertEqual(self.path("rte.jsonl").read_bytes(), whole)

  @parameterized.parameters(True, False)
  def test_another_evaluation_is_refused(self, done):
    opened = self.written(0, 1, 2)
    if done:
      opened.finish()
    message = (
      'another evaluation: score is "per_token" now, was "sum"; shots is 5 now,'
      " was null. Choose another --output.*--restart"
    )
    with self.assertRaisesRegex(prediction_log.PredictionLogError, message):
      self.open(score="per_token", shots=5).read(0)
    with self.assertRaisesRegex(ValueError, "requests is 6 now, was 5"):
      self.open(requests=6).read(0)
    with self.assertRaisesRegex(ValueError, "chunk is 3 now, was 2"):
      self.open(chunk=3).read(0)

  def test_weights_that_moved_are_the_same(self):
    self.written(0)
    self.assertIsNotNone(self.open(checkpoint="elsewhere").read(0))

  def test_tasks_and_labels_have_files_of_their_own(self):
    self.written(0)
    self.assertIsNone(self.open(task="cb").read(0))
    self.assertEqual(
      os.path.basename(
        prediction_log.folder_of("a", "base (baseline prompts)")
      ),
      "base_baseline_prompts",
    )

  def test_without_a_folder_nothing_is_kept(self):
    opened = prediction_log.PredictionLogWriter("", "rte", HEADER, 2, 2)
    opened.write(0, LINES[:2])
    self.assertIsNone(opened.read(0))
    opened.finish()

  def test_errors_of_reading(self):
    with self.assertRaisesRegex(FileNotFoundError, "no predictions at .*rte"):
      prediction_log.read_log(self.folder, "rte")
    os.makedirs(self.folder)
    path = self.path("rte.jsonl")
    for text in ("", '{"a": 1}\n', '{"header": {}}\n', "[1]\n", "\n"):
      path.write_text(text)
      with self.assertRaisesRegex(
        prediction_log.PredictionLogError, "rte.jsonl is not a prediction log"
      ):
        prediction_log.read_log(self.folder, "rte")

  def test_what_a_stopped_run_began_to_write_is_removed(self):
    opened = self.written(0, 1, 2)
    self.path("rte.jsonl.77.tmp").write_text("half")
    self.path("rte2.jsonl.77.tmp").write_text("of another task")
    opened.finish()
    self.assertCountEqual(
      os.listdir(self.folder), ["rte.jsonl", "rte2.jsonl.77.tmp"]
    )

  def test_lines_are_values(self):
    self.assertEqual(choice(1), choice(1))
    with self.assertRaises(dataclasses.FrozenInstanceError):
      choice(1).score = 2.0  # pyright: ignore


if __name__ == "__main__":
  absltest.main()
