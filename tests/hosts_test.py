"""Two processes under TF_CONFIG are one mesh: the losses of a single device.

The processes find each other on loopback, one CPU device each.
"""

import json
import os
import pathlib
import signal
import socket
import time

import numpy as np
import tiny
from absl.testing import absltest

from flan_tf import config, writers

TINY = tiny.Tiny()
_PATIENCE = 150  # Seconds; a start takes some ten on a busy machine.


setUpModule, tearDownModule = TINY.open, TINY.close


def metrics(workdir: pathlib.Path) -> list[dict]:
  return writers.read_jsonl(str(workdir / "metrics.jsonl"))


# What a host does: one run after the other, since starting takes long.
_HOST = """
import sys
from flan_tf import config
from launch import jobs

for path in sys.argv[1:]:
  with open(path + ".json") as file:
    jobs.train(config.from_json(file.read()), path)
"""


class TwoHostsTest(absltest.TestCase):
  def start(self, runs: dict[pathlib.Path, config.RunConfig]):
    """Starts both hosts on runs by workdir."""
    for workdir, run in runs.items():
      workdir.with_suffix(".json").write_text(config.to_json(run))
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{s.getsockname()[1]}" for s in servers]
    for server in servers:
      server.close()
    hosts = []
    for index in range(2):
      cluster = {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": index},
      }
      host = tiny.start(
        "-c", _HOST, *map(str, runs), TF_CONFIG=json.dumps(cluster)
      )
      self.addCleanup(host.communicate)
      self.addCleanup(host.kill)
      hosts.append(host)
    return hosts

  def finish(self, hosts) -> list[str]:
    outputs = []
    for host in hosts:
      out, err = host.communicate(timeout=_PATIENCE)
      self.assertEqual(host.returncode, 0, err)
      outputs.append(out)
    return outputs

  def check(self, run: config.RunConfig, workdir: pathlib.Path, exact: int):
    """Goes on with one device, and compares with a run on one device.

    Sums are taken in another order, so the weights drift apart: the first
    `exact` losses must agree to 1e-5, all others to 1e-3.
    """
    one = workdir.with_name(f"{workdir.name}_on_one")
    TINY.train(run, workdir)
    TINY.train(run, one)
    lines, expected = metrics(workdir), metrics(one)
    self.assertLen(lines, run.train.steps)
    for step, (line, want) in enumerate(zip(lines, expected, strict=True)):
      del line["tokens_per_second"], want["tokens_per_second"]
      self.assertEqual(set(line), set(want))
      rtol = 1e-5 if step < exact else 1e-3
      for name, value in want.items():
        np.testing.assert_allclose(line[name], value, rtol, err_msg=name)
    # The first host alone has written, and then this process.
    self.assertLen(os.listdir(workdir / "tensorboard"), 2)

  def test_two_hosts_train_like_one_device(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    halves, rows = folder / "weights_in_halves", folder / "rows_in_halves"
    slow = {"train__learning_rate": 0.001, "train__save_every": 5}
    hosts = self.start(
      {
        halves: TINY.run(mesh__shape="model:2", train__steps=3),
        rows: TINY.run(mesh__shape="data:2", train__steps=400, **slow),
      }
    )

    # One of the two is asked to stop: both do, after the same step.
    end = time.monotonic() + _PATIENCE
    path = rows / "metrics.jsonl"
    while not path.exists() or path.read_text().count("\n") < 3:
      self.assertLess(time.monotonic(), end, "The run logs nothing.")
      if hosts[0].poll() is not None:
        self.fail(f"The run ended:\n{hosts[0].communicate()[1]}")
      time.sleep(0.01)
    hosts[1].send_signal(signal.SIGTERM)
    outputs = self.finish(hosts)
    last = metrics(rows)[-1]["step"]
    self.assertLess(last, 400)
    for out in outputs:
      self.assertIn("Finished at step 3.", out)
      self.assertIn(f"Stopped at step {last}.", out)

    # One device reads what two have written.
    self.check(TINY.run(train__steps=6), halves, exact=6)
    self.check(TINY.run(train__steps=last + 3, **slow), rows, exact=3)


if __name__ == "__main__":
  absltest.main()
