"""launch/tpu/_worker.sh, the script that runs on the VMs of a slice.

The metadata server (`curl`), TensorFlow's TPU server and the project's
environment are replaced by small scripts. Locks, processes and signals are
real.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time

import tensorflow as tf
from absl.testing import absltest

ROOT = pathlib.Path(__file__).absolute().parents[2]
_TIMEOUT = 60  # Seconds.
# The format of the metadata server: the third field is the address of a VM.
TWO = "0:a:10.0.0.1,1:b:10.0.0.2"
TWO_SERVERS = "grpc://10.0.0.1:8470,grpc://10.0.0.2:8470"

_SERVER = """#!/usr/bin/env bash
exec python3 -c '
import os, socket, time
server = socket.create_server(("127.0.0.1", int(os.environ["TPU_TASK_PORT"])))
time.sleep(60)' start_grpc_tpu_worker
"""


class WorkerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    # Paths with blanks must not come apart.
    self.folder /= "two words"
    self.bin, self.home = self.folder / "bin", self.folder / "home"
    self.home.mkdir(parents=True)
    project = self.folder / "flan"
    self.worker = project / "launch" / "tpu" / "_worker.sh"
    self.worker.parent.mkdir(parents=True)
    shutil.copy(ROOT / "launch" / "tpu" / "_worker.sh", self.worker)
    # The real script would download a Python environment.
    environment = project / "tools" / "python" / "environment.sh"
    environment.parent.mkdir(parents=True)
    environment.write_text('echo "environment: $* in $FLAN_VENV" >&2\n')
    self.write_script("curl", f"#!/bin/sh\necho '{TWO}'\n")
    self.write_script("gcloud", '#!/bin/sh\ncp "$4" "${5#gs://}"\n')
    self.write_script("start_grpc_tpu_worker", _SERVER)
    with socket.create_server(("127.0.0.1", 0)) as server:
      self.port = server.getsockname()[1]
    self.addCleanup(self.end_processes)

  def write_script(self, name: str, text: str) -> None:
    self.bin.mkdir(exist_ok=True)
    path = self.bin / name
    path.write_text(text)
    path.chmod(0o755)

  def end_processes(self):
    for name in ("pid", "server.pid"):
      path = self.home / ".flan" / name
      if path.exists():
        subprocess.run(["kill", path.read_text().strip()], capture_output=True)

  def start(self, *arguments: str, **env: str) -> subprocess.Popen:
    """Starts _worker.sh; its stderr goes to its stdout."""
    path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
    env = {"HOME": str(self.home), "TPU_TASK_PORT": str(self.port)} | env
    return subprocess.Popen(
      [str(self.worker), *arguments],
      env={**os.environ, "PATH": path, **env},
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  def call(self, *arguments: str, **env: str) -> tuple[int, str]:
    started = self.start(*arguments, **env)
    out, _ = started.communicate(timeout=_TIMEOUT)
    return started.returncode, out

  def set_metadata(self, text: str) -> None:
    """Sets the answer of the metadata server."""
    self.write_script("curl", f"#!/bin/sh\necho '{text}'\n")

  def wait_for(self, path: pathlib.Path) -> None:
    end = time.monotonic() + _TIMEOUT
    while not path.exists():
      self.assertLess(time.monotonic(), end, f"{path} was not created.")
      time.sleep(0.02)

  def test_the_command_gets_all_addresses_and_its_status_is_returned(self):
    log = self.folder / "log.txt"
    status, out = self.call(
      "run",
      "bash",
      "-c",
      "echo $TPU_NAME $TPU_LOAD_LIBRARY $PWD; exit 75",
      FLAN_LOG=f"gs://{log}",
      TPU_TASK_PORT="",
    )
    self.assertEqual(status, 75)
    self.assertIn(f"{TWO_SERVERS} 0 {self.folder / 'flan'}\n", out)
    self.assertIn("environment: tpu in ", out)
    self.assertEqual(log.read_text(), out)

  def test_tensorflow_resolves_the_addresses_without_the_tpu_api(self):
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(TWO_SERVERS)
    self.assertEqual(
      resolver.cluster_spec().as_dict(),
      {"worker": ["10.0.0.1:8470", "10.0.0.2:8470"]},
    )

  def test_one_vm_needs_no_server(self):
    self.set_metadata("0:a:10.0.0.1")
    status, out = self.call("serve")
    self.assertEqual(status, 0)
    self.assertIn("the slice has one VM, so its TPUs need no server", out)
    command = ("run", "bash", "-c", "echo $TPU_NAME ${TPU_LOAD_LIBRARY-unset}")
    self.assertIn("local unset\n", self.call(*command)[1])

  def test_training_gets_the_addresses_as_a_flag(self):
    self.write_script("python", '#!/bin/sh\necho "$*"\n')
    train = ("run", "python", "-m", "launch.train", "--workdir=w;x y")
    name = f"--tpu=grpc://10.0.0.1:{self.port},grpc://10.0.0.2:{self.port}"
    self.assertIn(f"--workdir=w;x y {name}\n", self.call(*train)[1])
    for flag in ("--tpu=mine", "--config.mesh.platform=cpu"):
      self.assertIn(f"y {flag}\n", self.call(*train, flag)[1])
    self.assertIn("-m x\n", self.call("run", "python", "-m", "x")[1])

  def test_an_equal_command_follows_the_running_one(self):
    here, go = self.folder / "here", self.folder / "go"
    script = f"echo begun; touch '{here}'"
    script += f"; until [ -e '{go}' ]; do sleep .1; done"
    command = ("run", "bash", "-c", f"{script}; echo done; exit 4")
    self.assertEqual(self.call("is_running"), (0, "no\n"))
    first = self.start(*command)
    self.wait_for(here)
    first.kill()  # The connection is lost.
    first.wait()
    self.assertEqual(self.call("is_running"), (0, "yes\n"))
    status, out = self.call("run", "something", "else")
    self.assertEqual(status, 3)
    self.assertIn("another command is running: bash -c echo", out)
    with self.start(*command) as second:
      assert second.stdout is not None
      # The command must not end before, or it would be started anew.
      message = second.stdout.readline()
      go.touch()
      # communicate() would miss text that readline() has buffered.
      out = second.stdout.read()
    self.assertIn("the command is running. Its last lines:", message)
    self.assertEqual(second.returncode, 4)
    self.assertRegex(out, "begun\ndone\n")
    self.assertEqual(self.call("is_running"), (0, "no\n"))
    first.communicate()

  def test_stop_lets_the_command_save_and_end(self):
    here = self.folder / "here"
    script = f"""
      trap 'echo saving; kill $!; exit 75' TERM
      sleep 60 >/dev/null 2>&1 & touch '{here}'; wait"""
    started = self.start("run", "bash", "-c", script)
    self.wait_for(here)
    status, out = self.call("stop")
    self.assertEqual(status, 0)
    self.assertIn("the command has ended with status 130", out)
    out, _ = started.communicate(timeout=_TIMEOUT)
    # Not 75, after which run.sh would start it again.
    self.assertEqual(started.returncode, 130, out)
    self.assertIn("saving\n", out)
    status, out = self.call("stop")
    self.assertIn("no command is running. If run.sh is about to", out)
    # The next command is one that nobody has stopped.
    self.assertEqual(self.call("run", "bash", "-c", "exit 75")[0], 75)

  def test_a_stopped_command_may_finish_or_fail(self):
    for number in (0, 1):
      here = self.folder / f"here {number}"
      script = f"""
        trap 'kill $!; exit {number}' TERM
        sleep 60 >/dev/null 2>&1 & touch '{here}'; wait"""
      started = self.start("run", "bash", "-c", script)
      self.wait_for(here)
      _, out = self.call("stop")
      self.assertIn(f"the command has ended with status {number}", out)
      out, _ = started.communicate(timeout=_TIMEOUT)
      self.assertEqual(started.returncode, number, out)

  def test_a_stop_before_the_command_begins(self):
    environment = self.worker.parents[2] / "tools/python/environment.sh"
    here, go = self.folder / "here", self.folder / "go"
    environment.write_text(
      f"touch '{here}'; until [ -e '{go}' ]; do sleep .05; done\n"
    )
    started = self.start("run", "sleep", "60")
    self.wait_for(here)
    stop = self.start("stop")
    self.wait_for(self.home / ".flan" / "stopped")
    go.touch()
    out, _ = stop.communicate(timeout=_TIMEOUT)
    self.assertIn("the command has ended with status 130", out)
    out, _ = started.communicate(timeout=_TIMEOUT)
    self.assertEqual(started.returncode, 130, out)

  def test_each_start_restarts_the_server(self):
    pid = self.home / ".flan" / "server.pid"
    self.assertEqual(self.call("serve")[0], 0)
    first = pid.read_text()
    socket.create_connection(("127.0.0.1", self.port)).close()
    self.assertEqual(self.call("serve")[0], 0)
    self.assertNotEqual(pid.read_text(), first)
    self.assertFalse(pathlib.Path("/proc", first.strip()).exists())

  def test_a_used_port_and_a_failing_server_are_explained(self):
    with socket.create_server(("127.0.0.1", self.port)):
      status, out = self.call("serve")
    self.assertEqual(status, 1)
    self.assertIn("another program listens on port", out)
    self.assertIn("or run: sudo systemctl stop tpu-runtime", out)
    self.write_script("start_grpc_tpu_worker", "#!/bin/sh\necho why; exit 1\n")
    status, out = self.call("serve")
    self.assertEqual(status, 1)
    self.assertIn("did not start", out)
    self.assertIn("why\n", out)

  def test_install_makes_the_environment_and_imports_its_packages(self):
    self.write_script("python3.11", "#!/bin/sh\n")
    self.write_script("python", "#!/bin/sh\ncat\n")
    status, out = self.call("install", PYTHON_SETUP="echo not needed")
    self.assertEqual(status, 0)
    self.assertIn(f"environment: tpu in {self.home}/.venv-flan", out)
    self.assertIn("import tensorflow_text", out)
    self.assertNotIn("not needed", out)


if __name__ == "__main__":
  absltest.main()
