"""launch/tpu/*.sh: the gcloud commands that they run, with a fake gcloud.

`golden/tpu/NAME.txt` has the commands that a dry run prints. The fake `gcloud`
is first on PATH. It prints the answers that a test prepares, and records its
arguments. To accept changed golden files:

  UPDATE_GOLDEN=1 pytest tests/launch/tpu_scripts_test.py
"""

import os
import pathlib
import shutil
import subprocess

from absl.testing import absltest, parameterized

ROOT = pathlib.Path(__file__).absolute().parents[2]
SCRIPTS = ROOT / "launch" / "tpu"
GOLDEN = ROOT / "tests" / "golden" / "tpu"
TRAIN = ("--", "python", "-m", "launch.train", "--workdir=gs://b/w", "a;b c")
SETTINGS = {
  "PROJECT": "my-project",
  "ZONE": "europe-west4-a",
  "NAME": "flan",
  "TYPE": "v3-32",
  "BUCKET": "gs://my-bucket",
}

# Reads an answer, "STATUS TEXT", from a file that is named after the kind of
# call. Each call takes the next line, and the last line stays. Without a file,
# the status is 0.
_GCLOUD = r"""#!/usr/bin/env bash
cd "$(dirname "$0")"
printf '%s\n' "$*" >>calls
case "$*" in
  *" describe "*) answers=describe ;;
  *" ssh "*is_running*) answers=is_running ;;
  *" ssh "*" run "*) answers=run ;;
  *" ssh "*serve*) answers=serve ;;
  *) answers=other ;;
esac
[ -e "$answers" ] || exit 0
read -r status text <"$answers"
if [ "$(wc -l <"$answers")" -gt 1 ]; then
  sed -i.old 1d "$answers"
fi
printf '%s\n' "$text"
exit "$status"
"""


class ScriptsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # Paths with blanks must not come apart.
    self.folder = pathlib.Path(self.create_tempdir().full_path, "two words")
    self.bin = self.folder / "bin"
    self.bin.mkdir(parents=True)
    gcloud = self.bin / "gcloud"
    gcloud.write_text(_GCLOUD)
    gcloud.chmod(0o755)
    self.write_settings()

  def write_settings(self, **changes: str) -> None:
    lines = [f"{k}={v}" for k, v in (SETTINGS | changes).items() if v]
    (self.folder / "tpu.env").write_text("\n".join(lines))

  def prepare_answers(self, **answers: tuple[str, ...]) -> None:
    """Prepares the answers of gcloud, "STATUS TEXT", by kind of call."""
    for name, lines in answers.items():
      (self.bin / name).write_text("".join(line + "\n" for line in lines))

  def calls(self) -> list[str]:
    """Returns the arguments of each gcloud call, without the common ones."""
    path = self.bin / "calls"
    place = " --project=my-project --zone=europe-west4-a"
    lines = path.read_text().splitlines() if path.exists() else []
    return [
      line.replace(place, "").replace("compute tpus ", "") for line in lines
    ]

  def run_script(
    self, script: str, *arguments: str
  ) -> subprocess.CompletedProcess:
    """Runs a script in a folder that is not the project's."""
    path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
      [str(SCRIPTS / script), *arguments],
      env={**os.environ, "PATH": path},
      cwd=self.folder,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=60,
    )

  def check_refused(self, message: str, script: str, *arguments: str) -> None:
    """Checks that a script fails with a message before it calls gcloud."""
    done = self.run_script(script, *arguments)
    self.assertEqual(done.returncode, 2, done)
    self.assertIn(message, done.stderr)
    self.assertEmpty(self.calls())

  def test_scripts_are_valid_and_stop_at_the_first_error(self):
    scripts = sorted(SCRIPTS.glob("*.sh"))
    self.assertLen(scripts, 7)
    for script in scripts:
      with self.subTest(script.name):
        subprocess.run(["bash", "-n", str(script)], check=True)
        if script.name != "_settings.sh":  # Other scripts source it.
          lines = script.read_text().splitlines()
          self.assertEqual(lines[0], "#!/usr/bin/env bash")
          self.assertIn("set -euo pipefail", lines)
          self.assertTrue(os.access(script, os.X_OK))

  @parameterized.parameters("create", "install", "run", "follow", "delete")
  def test_help(self, name):
    done = self.run_script(f"{name}.sh", "--help")
    self.assertEqual(done.returncode, 0)
    self.assertStartsWith(done.stdout, f"Usage: launch/tpu/{name}.sh")
    self.assertIn("--dry_run", done.stdout)
    self.assertEmpty(self.calls())

  @parameterized.parameters(
    ("create", "--spot", "--wait"),
    ("install",),
    ("run", *TRAIN),
    ("follow",),
    ("delete",),
  )
  def test_a_dry_run_prints_the_golden_commands(self, name, *arguments):
    done = self.run_script(f"{name}.sh", "--dry_run", *arguments)
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertEmpty(self.calls())
    text = done.stdout.replace(str(ROOT), "PROJECT_FOLDER")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN", "") not in ("", "0"):
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
    self.assertEqual(text, path.read_text())

  def test_a_dry_run_prints_the_commands_that_run(self):
    for script, arguments in (
      ("create.sh", ("--spot",)),
      ("delete.sh", ()),
      ("run.sh", TRAIN),
    ):
      (self.bin / "calls").unlink(missing_ok=True)
      self.prepare_answers(describe=("0 ACTIVE",), is_running=("0 no",))
      printed = self.run_script(script, "--dry_run", *arguments).stdout
      joined = printed.replace("\\\n    ", "")
      # A shell can run the printed lines.
      subprocess.run(
        ["bash", "-euc", joined],
        env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
      )
      dry = self.calls()
      (self.bin / "calls").unlink()
      self.run_script(script, *arguments)
      self.assertEqual(self.calls(), dry)

  @parameterized.parameters(
    ("v2-8", "tpu-ubuntu2204-base"),
    ("v3-32", "tpu-ubuntu2204-base"),
    ("v4-16", "tpu-ubuntu2204-base"),
    ("v5litepod-16", "v2-alpha-tpuv5-lite"),
    ("v5p-16", "v2-alpha-tpuv5"),
    ("v6e-8", "v2-alpha-tpuv6e"),
  )
  def test_each_generation_has_its_image(self, accelerator_type, image):
    self.write_settings(TYPE=accelerator_type, SERVICE_ACCOUNT="me@x")
    self.run_script("create.sh")
    self.assertEqual(
      self.calls(),
      [
        "queued-resources create flan --node-id=flan"
        f" --accelerator-type={accelerator_type} --runtime-version={image}"
        " --service-account=me@x --async"
      ],
    )

  def test_the_example_is_a_settings_file(self):
    example = str(SCRIPTS / "example.env")
    done = self.run_script("delete.sh", "--dry_run", f"--settings={example}")
    self.assertEqual(done.returncode, 0, done.stderr)

  def test_bad_flags_are_refused(self):
    self.check_refused(
      "unknown option '--zone=x'. Known: --settings= --dry_run --help --spot",
      "create.sh",
      "--zone=x",
    )
    self.check_refused("unknown option '--restarts'", "run.sh", "--restarts")
    self.check_refused("expected no words after --", "delete.sh", "--", "x")
    self.check_refused(
      "expected a whole number, without zeros before it, got 'x'",
      "run.sh",
      "--restarts=x",
    )
    self.check_refused(
      "expected a whole number, without zeros before it, got ''",
      "follow.sh",
      "--lines=",
    )
    for flag, message in (
      ("--restarts=08", "--restarts: expected a whole number, without zeros"),
      (f"--poll={10**19}", "--poll: expected at most 999999999, got 1000"),
    ):
      self.check_refused(message, "run.sh", flag)
    self.check_refused(
      "no value or 'spot', got 'now'", "run.sh", "--recreate=now"
    )
    self.check_refused("there is no command. Write it after --", "run.sh")

  def test_bad_settings_are_refused(self):
    self.check_refused(
      "there is no settings file 'x.env'. Copy", "create.sh", "--settings=x.env"
    )
    self.write_settings(ZONE="", BUCKET="")
    self.check_refused("tpu.env lacks: ZONE BUCKET.", "create.sh")
    self.write_settings(ZONES="x")
    self.check_refused(
      "line 6: unknown setting 'ZONES'. Known: PROJECT", "create.sh"
    )
    self.write_settings(BUCKET="my-bucket")
    self.check_refused(
      "BUCKET must start with gs://, got 'my-bucket'", "create.sh"
    )
    self.write_settings(TYPE="tpu7x-8")
    self.check_refused(
      "no image is known for TYPE 'tpu7x-8'. Known: v2-N", "create.sh"
    )
    self.write_settings(TYPE="v6e-16")
    self.check_refused("does not know v6e. Expected v6e-1, v6e-4", "create.sh")

  def test_create_fails_if_the_slice_will_not_become_active(self):
    self.prepare_answers(describe=("0 FAILED",))
    done = self.run_script("create.sh", "--wait")
    self.assertEqual(done.returncode, 2)
    self.assertIn("flan is FAILED", done.stderr)
    self.assertIn(
      "To remove the request, run: launch/tpu/delete.sh", done.stderr
    )

  def test_install_copies_the_checkout_or_clones(self):
    self.prepare_answers(describe=("0 ACTIVE",))
    self.assertEqual(self.run_script("install.sh").returncode, 0)
    _, copy, unpack, install = self.calls()
    self.assertRegex(copy, r"^tpu-vm scp \S+/flan.tar.gz flan:flan.tar.gz ")
    self.assertIn("tar -xzf flan.tar.gz -C flan", unpack)
    self.assertEndsWith(
      install, "--worker=all --command=flan/launch/tpu/_worker.sh install"
    )
    (self.bin / "calls").unlink()
    setup = "sudo apt-get install -y python3.12"
    self.write_settings(SOURCE="https://x.org/f.git", PYTHON_SETUP=setup)
    self.assertEqual(self.run_script("install.sh").returncode, 0)
    _, clone, install = self.calls()
    self.assertIn("git clone --depth=1 https://x.org/f.git flan", clone)
    self.assertIn(f"PYTHON_SETUP='{setup}' flan/launch", install)
    self.prepare_answers(describe=("1",))
    done = self.run_script("install.sh")
    self.assertEqual(done.returncode, 2)
    self.assertIn(
      "there is no slice flan. Create it first: launch/tpu/create.sh",
      done.stderr,
    )

  def run_command(self, *flags: str) -> subprocess.CompletedProcess:
    return self.run_script("run.sh", "--poll=0", *flags, *TRAIN)

  def counts(self) -> dict[str, int]:
    words = ("create", "delete", "scp", "serve", " run ")
    return {word: sum(word in line for line in self.calls()) for word in words}

  def test_status_75_restarts_the_command(self):
    self.prepare_answers(
      describe=("0 ACTIVE",), run=("75", "0"), is_running=("0 no",)
    )
    done = self.run_command()
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn("the command ended with status 75", done.stderr)
    self.assertIn("restart 1 of 100", done.stderr)
    counts = self.counts()
    self.assertEqual((counts["serve"], counts[" run "]), (2, 2))
    # The servers start on all VMs, before the command on the first one.
    _, _, serve, run, *_ = self.calls()
    self.assertIn("--worker=all", serve)
    self.assertIn("--worker=0", run)

  def test_after_a_lost_connection_the_command_is_followed(self):
    self.prepare_answers(
      describe=("0 ACTIVE",), run=("255", "0"), is_running=("0 no", "0 yes")
    )
    self.assertEqual(self.run_command().returncode, 0)
    counts = self.counts()
    # While the command is running, its servers are not restarted.
    self.assertEqual((counts["serve"], counts[" run "]), (1, 2))

  def test_an_error_of_the_command_is_not_restarted(self):
    self.prepare_answers(
      describe=("0 ACTIVE",), run=("3",), is_running=("0 no",)
    )
    done = self.run_command()
    self.assertEqual(done.returncode, 3)
    self.assertIn("this is an error of the command", done.stderr)
    self.assertEqual(self.counts()[" run "], 1)

  def test_a_stopped_command_is_not_restarted(self):
    self.prepare_answers(
      describe=("0 ACTIVE", "0 SUSPENDED"), run=("130",), is_running=("0 no",)
    )
    done = self.run_command()
    self.assertEqual(done.returncode, 130)
    self.assertIn("it was stopped by --stop or by Ctrl-C", done.stderr)
    self.assertEqual(self.counts()[" run "], 1)

  def test_recreate_calls_scripts_in_a_folder_with_blanks(self):
    project = self.folder / "my project"
    shutil.copytree(SCRIPTS, project / "launch" / "tpu")
    for name in ("tools/python", "flan_tf", "tasks"):
      (project / name).mkdir(parents=True)
    (project / "tools/python/environment.sh").touch()
    (project / "setup.py").touch()
    (self.folder / "tpu.env").rename(self.folder / "my tpu.env")
    self.prepare_answers(
      describe=("0 SUSPENDED", "0 NONE", "0 ACTIVE"), is_running=("0 no",)
    )
    done = self.run_script(
      str(project / "launch/tpu/run.sh"),
      "--settings=my tpu.env",
      "--recreate",
      "--poll=0",
      *TRAIN,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    counts = self.counts()
    self.assertEqual(
      (counts["create"], counts["scp"], counts[" run "]), (1, 1, 1)
    )

  def test_restarts_are_limited(self):
    self.prepare_answers(
      describe=("0 ACTIVE",), run=("75",), is_running=("0 no",)
    )
    done = self.run_command("--restarts=2")
    self.assertEqual(done.returncode, 75)
    self.assertIn("no restarts are left (--restarts=2)", done.stderr)
    self.assertEqual(self.counts()[" run "], 3)

  def test_a_slice_that_was_taken_away_is_awaited_or_recreated(self):
    gone = ("0 ACTIVE", "0 SUSPENDING", "0 SUSPENDING", "0 SUSPENDED")
    self.prepare_answers(describe=gone, run=("1", "0"), is_running=("0 no",))
    done = self.run_command()
    self.assertEqual(done.returncode, 2)
    self.assertIn("flan is SUSPENDED", done.stderr)
    self.assertIn("not ACTIVE and will not become so by itself", done.stderr)
    (self.bin / "calls").unlink()

    back = ("0 SUSPENDED", "0 SUSPENDED", "0 ACTIVE")
    self.prepare_answers(describe=(*gone[:2], *back), run=("1", "0"))
    done = self.run_command("--recreate=spot")
    self.assertEqual(done.returncode, 0, done.stderr)
    counts = self.counts()
    self.assertEqual(
      (counts["delete"], counts["create"], counts["scp"]), (1, 1, 1)
    )
    self.assertEqual((counts["serve"], counts[" run "]), (2, 2))
    (create,) = [line for line in self.calls() if " create " in line]
    self.assertIn(" --spot --async", create)

  def test_stop_calls_the_first_vm(self):
    self.assertEqual(self.run_script("run.sh", "--stop").returncode, 0)
    (line,) = self.calls()
    self.assertEndsWith(
      line, "--worker=0 --command=flan/launch/tpu/_worker.sh stop"
    )

  def test_follow_reads_the_bucket_if_the_slice_is_gone(self):
    (self.bin / "other").write_text("0 said last\n")
    self.prepare_answers(describe=("0 SUSPENDED",))
    gcloud = self.bin / "gcloud"
    gcloud.write_text(
      gcloud.read_text().replace(
        "*) answers=other", '*" ssh "*) exit 1 ;;\n  *) answers=other'
      )
    )
    done = self.run_script("follow.sh", "--once", "--lines=3")
    self.assertEqual(done.stdout.split("\n")[:2], ["SUSPENDED", "said last"])
    self.assertIn("--command=tail -n 3 .flan/log", self.calls()[1])
    self.assertEqual(
      self.calls()[2], "storage cat gs://my-bucket/logs/flan.txt"
    )


if __name__ == "__main__":
  absltest.main()
