"""Several processes under TF_CONFIG train like a single device.

Each process has one CPU device. They communicate by gRPC on loopback.
launch/hosts.sh starts them, and restarts all of them when one has been lost.
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
_TIMEOUT = 150  # Seconds; a start takes about ten on a busy machine.


setUpModule, tearDownModule = TINY.open, TINY.close


def metrics(workdir: pathlib.Path) -> list[dict]:
  return json_lines.read_jsonl(str(workdir / "metrics.jsonl"))


# The program of a host: several runs in one process, since a start is slow.
_HOST = """
import sys
from flan_tf import config
from launch.cli import train_and_print

for path in sys.argv[1:]:
  with open(path + ".json") as file:
    train_and_print(config.from_json(file.read()), path)
"""


def wait_for_lines(path: pathlib.Path, number: int, check_alive) -> None:
  """Waits until a run has logged steps.

  Args:
    path: its metrics.jsonl.
    number: number of lines to wait for.
    check_alive: raises an error if the run has ended.
  """
  end = time.monotonic() + _TIMEOUT
  while not path.exists() or path.read_text().count("\n") < number:
    if time.monotonic() > end:
      raise AssertionError(f"{path} has fewer than {number} lines.")
    check_alive()
    time.sleep(0.01)


def next_line(started: subprocess.Popen) -> str:
  """Reads a line of output; fails if the process has ended."""
  line = started.stdout.readline() if started.stdout else ""
  if not line:
    raise AssertionError("The process has ended.")
  return line


class TwoHostsTest(absltest.TestCase):
  def start(self, runs: dict[pathlib.Path, config.RunConfig]):
    """Starts both hosts.

    Args:
      runs: the runs that they train one after another, by workdir.
    """
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

  def finish(self, hosts, status: int) -> list[str]:
    outputs = []
    for host in hosts:
      out, err = host.communicate(timeout=_TIMEOUT)
      self.assertEqual(host.returncode, status, err)
      outputs.append(out)
    return outputs

  def check(self, run: config.RunConfig, workdir: pathlib.Path, exact: int):
    """Continues a run on one device, and compares it with a run on one device.

    Sums are computed in another order, so that the weights drift apart.

    Args:
      run: the run.
      workdir: its workdir.
      exact: number of losses that must agree to 1e-5; later ones to 1e-3.
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
    # Only the first host has written, and then this process.
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

    # One of them gets a signal; both stop after the same step.
    def check_alive():
      if hosts[0].poll() is not None:
        self.fail(f"The run ended:\n{hosts[0].communicate()[1]}")

    wait_for_lines(rows / "metrics.jsonl", 3, check_alive)
    hosts[1].send_signal(signal.SIGTERM)
    outputs = self.finish(hosts, status=75)
    last = metrics(rows)[-1]["step"]
    self.assertLess(last, 400)
    for out in outputs:
      self.assertIn("Finished at step 3.", out)
      self.assertIn(f"Stopped by SIGTERM at step {last} of 400", out)

    # One device continues from the checkpoints of two.
    self.check(TINY.run(train__steps=6), halves, exact=6)
    self.check(TINY.run(train__steps=last + 3, **slow), rows, exact=3)


class LauncherTest(absltest.TestCase):
  def start(self, *arguments: str) -> subprocess.Popen:
    """Starts launch/hosts.sh with this Python's packages."""
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
      started.terminate()  # The script then ends its hosts.
      started.communicate()

    self.addCleanup(end)
    return started

  def run_to_end(self, *arguments: str) -> tuple[int, str]:
    started = self.start(*arguments)
    out, _ = started.communicate(timeout=_TIMEOUT)
    return started.returncode, out

  def test_four_hosts_continue_after_one_is_killed(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    four, one = folder / "four", folder / "one"
    settings = {"train__steps": 12, "train__save_every": 4}
    run_file = TINY.run_file(mesh__shape="data:2;model:2", **settings)
    started = self.start(
      "--hosts=4",
      "--restarts=1",
      "--",
      sys.executable,
      "-m",
      "launch.train",
      f"--config={run_file}",
      f"--workdir={four}",
    )
    pids = {}
    while len(pids) < 4:
      line = next_line(started)
      for host, pid in re.findall(r"host (\d) of 4 is process (\d+)", line):
        pids[int(host)] = int(pid)
    # After the second checkpoint and before the third.
    wait_for_lines(four / "metrics.jsonl", 9, lambda: None)
    os.kill(pids[2], signal.SIGKILL)
    output, _ = started.communicate(timeout=_TIMEOUT)
    self.assertEqual(started.returncode, 0, output)
    # The launcher may see the end of any of the hosts first.
    first = r"host (2 of 4 ended with signal 9|[013] of 4 ended with status 75)"
    self.assertRegex(output, first)
    # The others notice it at once and print what to do.
    again = r"Start the same command again; it continues from step [48]\."
    for host in (0, 1, 3):
      self.assertRegex(output, rf"\[{host}\] PreemptedError: .*{again}")
    self.assertNotIn("hosts are still there", output)
    self.assertIn("all hosts start again: restart 1 of 1", output)
    self.assertEqual(output.count("Finished at step 12."), 4)

    TINY.train(TINY.run(**settings), one)
    lines, expected = metrics(four), metrics(one)
    self.assertEqual([line["step"] for line in lines], list(range(1, 13)))
    for line, want in zip(lines, expected, strict=True):
      del line["tokens_per_second"], want["tokens_per_second"]
      self.assertEqual(set(line), set(want))
      for name, value in want.items():
        np.testing.assert_allclose(line[name], value, 1e-5, err_msg=name)

  def test_a_dry_run_prints_the_command_of_each_host(self):
    command = ("--", "python", "-m", "x", "--mesh=data:2;model:1", "two words")
    status, output = self.run_to_end(
      "--hosts=2", "--port=4000", "--dry_run", *command
    )
    self.assertEqual(status, 0)
    hosts = output.splitlines()
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

  def test_hosts_with_status_75_are_restarted(self):
    folder = self.create_tempdir().full_path
    # The second host prints something only when it is restarted.
    script = """
      case "$TF_CONFIG" in *'"index": 0'*) exit 0 ;; esac
      [ -e seen ] && { echo "here again"; exit 0; }
      touch seen; exit 75"""
    command = ("--", "bash", "-c", f"cd {shlex.quote(folder)}; {script}")
    status, output = self.run_to_end("--hosts=2", "--restarts=2", *command)
    self.assertEqual(status, 0, output)
    self.assertIn("host 1 of 2 ended with status 75", output)
    self.assertIn("restart 1 of 2", output)
    self.assertNotIn("restart 2 of 2", output)
    self.assertIn("[1] here again\n", output)

  def test_no_more_restarts_than_allowed(self):
    status, output = self.run_to_end(
      "--hosts=1", "--restarts=1", "--", "bash", "-c", "exit 75"
    )
    self.assertEqual(status, 75)
    self.assertEqual(output.count("ended with status 75"), 2)
    self.assertIn("no restarts are left (--restarts=1)", output)

  def test_other_errors_are_not_retried(self):
    status, output = self.run_to_end(
      "--hosts=2", "--restarts=3", "--", "bash", "-c", "echo why; exit 3"
    )
    self.assertEqual(status, 3)
    self.assertIn("[0] why\n", output)
    self.assertIn("its own error, which another start would not mend", output)
    self.assertNotIn("start again", output)

  def test_hosts_that_do_not_end_are_terminated(self):
    script = """
      case "$TF_CONFIG" in *'"index": 0'*) exit 75 ;; esac
      trap 'echo asked; kill $!; exit 0' TERM
      sleep 300 >/dev/null 2>&1 & wait"""
    status, output = self.run_to_end(
      "--hosts=2", "--grace=1", "--", "bash", "-c", script
    )
    self.assertEqual(status, 75)
    self.assertIn("hosts are still there after 1s: SIGTERM", output)
    self.assertIn("[1] asked", output)
    self.assertNotIn("SIGKILL", output)

  def stop_hosts(self, number: int, status: int) -> tuple[int, str]:
    """Sends a signal to the script.

    Args:
      number: the signal.
      status: status of the hosts after SIGTERM.
    """
    script = f"""
      trap 'echo saving; kill $!; exit {status}' TERM
      echo up; sleep 300 >/dev/null 2>&1 & wait"""
    started = self.start(
      "--hosts=2", "--restarts=9", "--", "bash", "-c", script
    )
    output = ""
    while output.count("] up") < 2:
      output += next_line(started)
    started.send_signal(number)
    output, _ = started.communicate(timeout=_TIMEOUT)
    self.assertEqual(output.count("] saving"), 2)
    self.assertNotIn("restart 1", output)
    return started.returncode, output

  def test_signals_are_passed_on_to_all_hosts(self):
    for number, status in ((signal.SIGTERM, 75), (signal.SIGHUP, 75)):
      found, output = self.stop_hosts(number, 75)
      self.assertEqual(found, status)
      self.assertIn("stopped by a signal; no host is started again", output)

  def test_ctrl_c(self):
    # A shell that starts this in the background ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    self.addCleanup(signal.signal, signal.SIGINT, before)
    self.assertEqual(self.stop_hosts(signal.SIGINT, 75)[0], 130)

  def test_stopped_hosts_may_finish_or_fail(self):
    self.assertEqual(self.stop_hosts(signal.SIGTERM, 0)[0], 0)
    self.assertEqual(self.stop_hosts(signal.SIGTERM, 1)[0], 1)

  def test_ctrl_c_of_a_host_is_not_retried(self):
    status, output = self.run_to_end(
      "--hosts=1", "--restarts=3", "--", "bash", "-c", "exit 130"
    )
    self.assertEqual(status, 130)
    self.assertIn("Ctrl-C stopped it, so it is not started again", output)

  def test_invalid_arguments_are_refused(self):
    command = ("--", "true")
    for arguments, message in (
      (("--host=2", *command), "unknown option '--host=2'. Known: --hosts=N"),
      (command, "--hosts=N is missing, e.g. --hosts=2"),
      (
        ("--hosts=two", *command),
        "--hosts: expected a whole number, without zeros before it, got 'two'",
      ),
      (
        ("--hosts=08", *command),
        "--hosts: expected a whole number, without zeros before it, got '08'",
      ),
      (("--hosts=0", *command), "--hosts: expected 1 to 1000, got 0"),
      (
        (f"--hosts={10**19}", *command),
        f"--hosts: expected 1 to 1000, got {10**19}",
      ),
      (
        ("--hosts=1", "--port=70000", *command),
        "--port: expected 1 to 65535, got 70000",
      ),
      (
        ("--hosts=3", "--port=65534", *command),
        "would listen on 65534 to 65536, but ports end at 65535. Name 65533",
      ),
      (("--hosts=2",), "there is no command. It comes behind --"),
    ):
      status, output = self.run_to_end(*arguments)
      self.assertEqual(status, 2)
      self.assertIn(message, output)
    status, output = self.run_to_end("--help")
    self.assertEqual(status, 0)
    self.assertIn("Usage: launch/hosts.sh --hosts=N", output)


if __name__ == "__main__":
  absltest.main()
