"""Benchmarks run, and their lines have the documented keys."""

import importlib.util
import json
import pathlib
import time
from unittest import mock

from absl.testing import absltest, parameterized

import tasks
from flan_tf import config
from flan_tf.data import shipped_rows
from flan_tf.task import registry
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary
from launch.benches import turns
from tests.helpers import tiny

KEYS = {
  "what",
  "system",
  "peer",
  "value",
  "unit",
  "peer_value",
  "ratio_to_peer",
  "share_of_peak",
  "precision",
  "size",
}


class TurnsTest(absltest.TestCase):
  def test_both_take_turns_and_the_first_does_not_count(self):
    calls = []
    pauses = iter([0.2, *[0] * 9])

    def ours():
      calls.append("ours")
      time.sleep(next(pauses))

    def peer():
      calls.append("peer")
      time.sleep(0.02)

    seconds, peer_seconds = turns.time_in_turns(ours, peer, steps=2, rounds=2)
    self.assertEqual(calls, ["ours", "ours", "peer", "peer"] * 3)
    self.assertLess(seconds, 0.02)
    self.assertGreaterEqual(peer_seconds, 0.02)


class DataTest(parameterized.TestCase):
  def compare(self, steady_rows):
    # It imports TensorFlow's data stack and, when run, the peer.
    from launch.benches import data

    folder = pathlib.Path(self.create_tempdir().full_path)
    chosen = registry.TaskRegistry(tasks.ALL).select(["rte", "aeslc"])
    shipped = pathlib.Path(tasks.__file__).parent / "rows"
    data_dir = shipped_rows.prepare_shipped_rows(
      chosen, shipped, folder / "rows"
    )
    words = ["Does the premise follow? yes no", "Subject: the summary"]
    path = folder / "words.model"
    SentencePieceVocabulary.train(words, 300, path)
    return data.compare(
      chosen,
      data_dir,
      str(path),
      rounds=1,
      steady_rows=steady_rows,
      data=config.DataConfig(input_length=448, target_length=64, length=512),
    )

  def test_an_absent_peer_names_its_extra(self):
    with mock.patch.object(importlib.util, "find_spec", return_value=None):
      with self.assertRaisesRegex(ValueError, r"seqio.*pip install -e .\[ben"):
        self.compare(0)

  @parameterized.parameters(0, 40)
  def test_against_seqio(self, steady_rows):
    if importlib.util.find_spec("seqio") is None:
      self.skipTest("The peer seqio is not installed (extra `bench`).")
    line = json.loads(json.dumps(self.compare(steady_rows)))
    self.assertContainsSubset(KEYS, line)
    size = line["size"]
    self.assertEqual(size["tasks"], 2)
    # The same rows; ours goes on to the end of a batch.
    self.assertBetween(
      size["tokens"] - size["peer_tokens"], 0, 8 * size["row_length"]
    )
    for name in ("fill", "peer_fill"):
      self.assertBetween(line[name], 0.3, 1)
    self.assertEqual("rss_mb_end" in line, steady_rows > 0)


class ScoreTest(absltest.TestCase):
  """Uses a stand-in for the harness: FlanScorer, with one answer reversed."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.tiny = tiny.Tiny()
    cls.tiny.open()
    cls.addClassCleanup(cls.tiny.close)

  def setUp(self):
    super().setUp()
    self.base = pathlib.Path(self.create_tempdir().full_path, "base")

  def lines(self, names=("rte", "sst2"), length=512):
    run = self.tiny.run(
      train__steps=1, data__input_length=length - 16, data__length=length
    )
    self.tiny.train(run, self.base)
    from flan_tf.checkpoints import checkpoint_dirs
    from launch.benches import score

    class Harness:
      def __init__(self, *args):
        self._ours = score.FlanScorer(*args)

      def score(self, asked):
        found = self._ours.score(asked)
        found[-1] = found[-1][::-1]
        return found, 0.5

      def close(self):
        pass

    work = score.ScoreBenchmark(
      checkpoint_dirs.find(str(self.base)),
      "unused",
      registry.TaskRegistry(tasks.ALL).select(names),
      self.tiny.data_dir,
      max_examples=3,
      batch=4,
    )
    with mock.patch.object(score, "LmEval", Harness):
      return list(score.compare(work, "float32"))

  def test_both_answer_the_same_requests(self):
    with mock.patch.object(importlib.util, "find_spec"):
      lines = self.lines()
    self.assertEqual([line["task"] for line in lines], ["rte", "sst2", "all"])
    for line in lines:
      self.assertContainsSubset(KEYS, json.loads(json.dumps(line)))
      examples = line["size"]["examples"]
      wrong = 2 if line["task"] == "all" else 1
      self.assertEqual(line["same_choices"], examples - wrong)
      if line["task"] != "all":
        self.assertGreater(line["largest_difference"], 0)
    *of_tasks, total = (line["size"]["examples"] for line in lines)
    self.assertEqual(sum(of_tasks), total)

  def test_more_options_are_no_more_prompts(self):
    run = self.tiny.run(train__steps=1, data__length=128)
    self.tiny.train(run, self.base)
    from flan_tf.checkpoints import checkpoint_dirs
    from launch.benches import options

    path = checkpoint_dirs.find(str(self.base))
    found = list(options.compare(path, "float32", (2, 4), 3, 20, rounds=1))
    self.assertEqual([line["options"] for line in found], [2, 4])
    for line in found:
      self.assertContainsSubset(KEYS, line)
    self.assertEqual([line["tokens"] for line in found], [84, 108])
    self.assertEqual([line["peer_tokens"] for line in found], [144, 288])

  def test_where_nothing_fits(self):
    with mock.patch.object(importlib.util, "find_spec"):
      with self.assertRaisesRegex(ValueError, "fits into the 32 tokens"):
        self.lines(length=32)

  def test_an_absent_harness_names_its_extra(self):
    with mock.patch.object(importlib.util, "find_spec", return_value=None):
      with self.assertRaisesRegex(ValueError, r"lm-eval.*pip install -e .\[be"):
        self.lines()


class ConvertTest(absltest.TestCase):
  def test_there_and_back_is_measured(self):
    from launch.benches import convert

    path = pathlib.Path(self.create_tempdir().full_path, "words.model")
    SentencePieceVocabulary.train(["Is it so? yes no"], 290, path)
    with mock.patch.multiple(
      convert, _VOCAB=384, _WIDTH=32, _HEADS=4, _KV_HEADS=2, _D_FF=64
    ):
      lines = list(convert.measure(1e-4, str(path)))
    self.assertEqual(
      [(line["from"], line["to"]) for line in lines],
      [
        ("hugging_face", "native"),
        ("native", "keras_hub"),
        ("keras_hub", "native"),
      ],
    )
    for line in lines:
      self.assertContainsSubset(KEYS, json.loads(json.dumps(line)))
      self.assertBetween(line["value"], 0.05, 4)


if __name__ == "__main__":
  absltest.main()
