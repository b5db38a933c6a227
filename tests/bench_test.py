"""Benchmarks run, and their lines hold what readers rely on."""

import importlib.util
import json
import pathlib
import time
from unittest import mock

from absl.testing import absltest, parameterized

import tasks
from flan_tf import registry
from flan_tf.data import samples, vocabulary, wrapping
from launch.benches import turns

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

    seconds, peer_seconds = turns.in_turn(ours, peer, steps=2, rounds=2)
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
    data_dir = samples.prepare_sample_rows(chosen, shipped, folder / "rows")
    words = ["Does the premise follow? yes no", "Subject: the summary"]
    path = folder / "words.model"
    vocabulary.Vocabulary.train(words, 300, path)
    return data.compare(
      chosen,
      data_dir,
      str(path),
      rounds=1,
      steady_rows=steady_rows,
      limits=wrapping.Limits(448, 64, 512),
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


if __name__ == "__main__":
  absltest.main()
