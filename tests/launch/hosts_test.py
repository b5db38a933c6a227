"""Several processes under TF_CONFIG are one mesh: the losses of one device.

The processes find each other on loopback, one CPU device each, and exchange
over gRPC. launch/hosts.sh starts them, and all of them again once one is gone.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

import numpy as np
from absl.testing import absltest

from flan_tf import config, json_lines
from tests.helpers import tiny

TINY = tiny.Tiny()
_SCRIPT = pathlib.Path(__file__).absolute().parents[2] / "launch/hosts.sh"
_PATIENCE = 150  # Seconds; a start takes some ten on a busy machine.


setUpModule, tearDownModule = TINY.open, TINY.close


def metrics(workdir: pathlib.Path) -> list[dict]:
  return json_lines.read_jsonl(str(workdir / "metrics.jsonl"))


# What a host does: one run after the other, since starting takes long.
_HOST = """
import sys
from flan_tf import config
from launch import jobs

for path in sys.argv[1:]:
  with open(path + ".json") as file:
    jobs.train(config.from_json(file.read()), path)
"""


def wait_for_lines(path: pathlib.Path, number: int, alive) -> None:
  """Waits until a run has logged so many steps; `alive` raises if it cannot."""
  end = time.monotonic() + _PATIENCE
  while not path.exists() or path.read_text().count("\n") < number:
    if time.monotonic() > end:
      raise AssertionError(f"{path}: nothing is logged.")
    alive()
    time.sleep(0.01)


def next_line(started: subprocess.Popen) -> str:
  line = started.stdout.readline() if started.stdout else ""
  if not line:
    raise AssertionError("It has ended.")
  return line


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
    def alive():
      if hosts[0].poll() is not None:
        self.fail(f"The run ended:\n{hosts[0].communicate()[1]}")

    wait_for_lines(rows / "metrics.jsonl", 3, alive)
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


class LauncherTest(absltest.TestCase):
  def start(self, *arguments: str) -> subprocess.Popen:
    """Starts launch/hosts.sh; its python is this one."""
    path = os.pathsep.join([str(tiny.ROOT), *filter(None, sys.path)])
    started = subprocess.Popen(
      [str(_SCRIPT), *arguments],
      env={**os.environ, "PYTHONPATH": path},
      cwd=tiny.ROOT,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

    def end():
      started.terminate()  # It ends its hosts.
      started.communicate()

    self.addCleanup(end)
    return started

  def run_to_end(self, *arguments: str) -> tuple[int, str]:
    started = self.start(*arguments)
    out, _ = started.communicate(timeout=_PATIENCE)
    return started.returncode, out

  def test_four_hosts_of_which_one_is_killed_go_on_as_if_nothing_were(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    four, one = folder / "four", folder / "one"
    settings = {"train__steps": 12, "train__save_every": 4}
    run_file = TINY.run_file(mesh__shape="data:2;model:2", **settings)
    started = self.start(
      *("--hosts=4", "--restarts=1", "--", sys.executable, "-m"),
      *("launch.train", f"--config={run_file}", f"--workdir={four}"),
    )
    pids = {}
    while len(pids) < 4:
      line = next_line(started)
      for host, pid in re.findall(r"host (\d) of 4 is process (\d+)", line):
        pids[int(host)] = int(pid)
    # Past the second checkpoint, and before the third.
    wait_for_lines(four / "metrics.jsonl", 9, lambda: None)
    os.kill(pids[2], signal.SIGKILL)
    said, _ = started.communicate(timeout=_PATIENCE)
    self.assertEqual(started.returncode, 0, said)
    # Whichever end the launcher sees first.
    first = r"host (2 of 4 ended with signal 9|[013] of 4 ended with status 75)"
    self.assertRegex(said, first)
    # The others notice at once, and say what to do.
    again = r"Start the same command again; it goes on from step [48]\."
    for host in (0, 1, 3):
      self.assertRegex(said, rf"\[{host}\] PreemptedError: .*{again}")
    self.assertNotIn("hosts are still there", said)
    self.assertIn("all hosts start again: restart 1 of 1", said)
    self.assertEqual(said.count("Finished at step 12."), 4)

    TINY.train(TINY.run(**settings), one)
    lines, expected = metrics(four), metrics(one)
    self.assertEqual([line["step"] for line in lines], list(range(1, 13)))
    for line, want in zip(lines, expected, strict=True):
      del line["tokens_per_second"], want["tokens_per_second"]
      self.assertEqual(set(line), set(want))
      for name, value in want.items():
        np.testing.assert_allclose(line[name], value, 1e-5, err_msg=name)

  def test_a_dry_run_prints_what_each_host_would_be_started_with(self):
    command = ("--", "python", "-m", "x", "--mesh=data:2;model:1", "two words")
    status, said = self.run_to_end(
      "--hosts=2", "--port=4000", "--dry_run", *command
    )
    self.assertEqual(status, 0)
    hosts = said.splitlines()
    self.assertLen(hosts, 2)
    for index, host in enumerate(hosts):
      setting, *words = shlex.split(host)
      name, _, value = setting.partition("=")
      self.assertEqual(name, "TF_CONFIG")
      self.assertEqual(
        json.loads(value),
        {
          "cluster": {"worker": ["127.0.0.1:4000", "127.0.0.1:4001"]},
          "task": {"type": "worker", "index": index},
        },
      )
      self.assertEqual(words, list(command[1:]))

  def test_hosts_that_ask_for_another_try_get_it(self):
    folder = self.create_tempdir().full_path
    # The second host has something to say only once it is started again.
    script = """
      case "$TF_CONFIG" in *'"index": 0'*) exit 0 ;; esac
      [ -e seen ] && { echo "here again"; exit 0; }
      touch seen; exit 75"""
    command = ("--", "bash", "-c", f"cd {shlex.quote(folder)}; {script}")
    status, said = self.run_to_end("--hosts=2", "--restarts=2", *command)
    self.assertEqual(status, 0, said)
    self.assertIn("host 1 of 2 ended with status 75", said)
    self.assertIn("restart 1 of 2", said)
    self.assertNotIn("restart 2 of 2", said)
    self.assertIn("[1] here again\n", said)

  def test_no_more_often_than_it_may(self):
    status, said = self.run_to_end(
      "--hosts=1", "--restarts=1", "--", "bash", "-c", "exit 75"
    )
    self.assertEqual(status, 75)
    self.assertEqual(said.count("ended with status 75"), 2)
    self.assertIn("no restarts are left (--restarts=1)", said)

  def test_an_error_of_its_own_is_not_tried_again(self):
    status, said = self.run_to_end(
      "--hosts=2", "--restarts=3", "--", "bash", "-c", "echo why; exit 3"
    )
    self.assertEqual(status, 3)
    self.assertIn("[0] why\n", said)
    self.assertIn("its own error, which another start would not mend", said)
    self.assertNotIn("start again", said)

  def test_hosts_that_do_not_end_are_ended(self):
    script = """
      case "$TF_CONFIG" in *'"index": 0'*) exit 75 ;; esac
      trap 'echo asked; kill $!; exit 0' TERM
      sleep 300 >/dev/null 2>&1 & wait"""
    status, said = self.run_to_end(
      "--hosts=2", "--grace=1", "--", "bash", "-c", script
    )
    self.assertEqual(status, 75)
    self.assertIn("hosts are still there after 1s: SIGTERM", said)
    self.assertIn("[1] asked", said)
    self.assertNotIn("SIGKILL", said)

  def test_what_it_is_told_it_tells_all_hosts(self):
    script = """
      trap 'echo saving; kill $!; exit 0' TERM
      echo up; sleep 300 >/dev/null 2>&1 & wait"""
    started = self.start(
      "--hosts=2", "--restarts=9", "--", "bash", "-c", script
    )
    said = ""
    while said.count("] up") < 2:
      said += next_line(started)
    started.terminate()
    said, _ = started.communicate(timeout=_PATIENCE)
    self.assertEqual(started.returncode, 0)
    self.assertEqual(said.count("] saving"), 2)

  def test_what_it_does_not_know_it_refuses(self):
    command = ("--", "true")
    for arguments, message in (
      (("--host=2", *command), "unknown option '--host=2'. Known: --hosts=N"),
      (command, "--hosts=N is missing, e.g. --hosts=2"),
      (
        ("--hosts=two", *command),
        "--hosts: expected a whole number, got 'two'",
      ),
      (("--hosts=0", *command), "--hosts: expected 1 or more, got 0"),
      (("--hosts=2",), "there is no command. It comes behind --"),
    ):
      status, said = self.run_to_end(*arguments)
      self.assertEqual(status, 2)
      self.assertIn(message, said)
    status, said = self.run_to_end("--help")
    self.assertEqual(status, 0)
    self.assertIn("Usage: launch/hosts.sh --hosts=N", said)


if __name__ == "__main__":
  absltest.main()
