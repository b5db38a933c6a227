"""launch/tpu/*.sh: what they would ask Google Cloud for, without asking.

`golden/tpu/NAME.txt` shows the commands of a dry run as they would be typed. A
stand-in `gcloud`, first on PATH, says what a test wants it to and keeps what it
was asked. To accept a changed file:

  UPDATE_GOLDEN=1 pytest tests/launch/tpu_scripts_test.py
"""

import os
import pathlib
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

# Answers with the next line of a file ("STATUS TEXT") named after what it is
# asked for; the last one again and again. Nothing planned is "0".
_GCLOUD = r"""#!/usr/bin/env bash
cd "$(dirname "$0")"
printf '%s\n' "$*" >>asked
case "$*" in
  *" describe "*) plan=describe ;;
  *" ssh "*is_running*) plan=is_running ;;
  *" ssh "*" run "*) plan=run ;;
  *" ssh "*serve*) plan=serve ;;
  *) plan=other ;;
esac
[ -e "$plan" ] || exit 0
read -r status text <"$plan"
if [ "$(wc -l <"$plan")" -gt 1 ]; then
  sed -i.old 1d "$plan"
fi
printf '%s\n' "$text"
exit "$status"
"""


class ScriptsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.bin = self.folder / "bin"
    self.bin.mkdir()
    gcloud = self.bin / "gcloud"
    gcloud.write_text(_GCLOUD)
    gcloud.chmod(0o755)
    self.write_settings()

  def write_settings(self, **changes: str) -> None:
    lines = [f"{k}={v}" for k, v in (SETTINGS | changes).items() if v]
    (self.folder / "tpu.env").write_text("\n".join(lines))

  def plan(self, **answers: tuple[str, ...]) -> None:
    for name, lines in answers.items():
      (self.bin / name).write_text("".join(line + "\n" for line in lines))

  def asked(self) -> list[str]:
    """What gcloud was asked, without what all questions share."""
    path = self.bin / "asked"
    place = " --project=my-project --zone=europe-west4-a"
    lines = path.read_text().splitlines() if path.exists() else []
    return [
      line.replace(place, "").replace("compute tpus ", "") for line in lines
    ]

  def start(self, script: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a script from a folder that is not the project's."""
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

  def refuse(self, message: str, script: str, *arguments: str) -> None:
    done = self.start(script, *arguments)
    self.assertEqual(done.returncode, 2, done)
    self.assertIn(message, done.stderr)
    self.assertEmpty(self.asked())

  def test_bash_can_read_them_and_they_stop_at_the_first_error(self):
    scripts = sorted(SCRIPTS.glob("*.sh"))
    self.assertLen(scripts, 7)
    for script in scripts:
      with self.subTest(script.name):
        subprocess.run(["bash", "-n", str(script)], check=True)
        if script.name != "_settings.sh":  # It is sourced.
          lines = script.read_text().splitlines()
          self.assertEqual(lines[0], "#!/usr/bin/env bash")
          self.assertIn("set -euo pipefail", lines)
          self.assertTrue(os.access(script, os.X_OK))

  @parameterized.parameters("create", "install", "run", "follow", "delete")
  def test_help_says_how(self, name):
    done = self.start(f"{name}.sh", "--help")
    self.assertEqual(done.returncode, 0)
    self.assertStartsWith(done.stdout, f"Usage: launch/tpu/{name}.sh")
    self.assertIn("--dry_run", done.stdout)
    self.assertEmpty(self.asked())

  @parameterized.parameters(
    ("create", "--spot", "--wait"),
    ("install",),
    ("run", *TRAIN),
    ("follow",),
    ("delete",),
  )
  def test_a_dry_run_prints_the_very_commands(self, name, *arguments):
    done = self.start(f"{name}.sh", "--dry_run", *arguments)
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertEmpty(self.asked())
    text = done.stdout.replace(str(ROOT), "PROJECT_FOLDER")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN", "") not in ("", "0"):
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
    self.assertEqual(text, path.read_text())

  def test_a_dry_run_prints_what_runs(self):
    for script, arguments in (
      ("create.sh", ("--spot",)),
      ("delete.sh", ()),
      ("run.sh", TRAIN),
    ):
      (self.bin / "asked").unlink(missing_ok=True)
      self.plan(describe=("0 ACTIVE",), is_running=("0 no",))
      printed = self.start(script, "--dry_run", *arguments).stdout
      joined = printed.replace("\\\n    ", "")
      # A shell reads them back.
      subprocess.run(
        ["bash", "-euc", joined],
        env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
      )
      dry = self.asked()
      (self.bin / "asked").unlink()
      self.start(script, *arguments)
      self.assertEqual(self.asked(), dry)

  @parameterized.parameters(
    ("v2-8", "tpu-ubuntu2204-base"),
    ("v3-32", "tpu-ubuntu2204-base"),
    ("v4-16", "tpu-ubuntu2204-base"),
    ("v5litepod-16", "v2-alpha-tpuv5-lite"),
    ("v5p-16", "v2-alpha-tpuv5"),
    ("v6e-8", "v2-alpha-tpuv6e"),
  )
  def test_each_generation_has_its_image(self, kind, image):
    self.write_settings(TYPE=kind, SERVICE_ACCOUNT="me@x")
    self.start("create.sh")
    self.assertEqual(
      self.asked(),
      [
        f"queued-resources create flan --node-id=flan --accelerator-type={kind}"
        f" --runtime-version={image} --service-account=me@x --async"
      ],
    )

  def test_the_example_is_a_settings_file(self):
    example = str(SCRIPTS / "example.env")
    done = self.start("delete.sh", "--dry_run", f"--settings={example}")
    self.assertEqual(done.returncode, 0, done.stderr)

  def test_what_they_do_not_know_they_refuse(self):
    self.refuse(
      "unknown option '--zone=x'. Known: --settings= --dry_run --help --spot",
      "create.sh",
      "--zone=x",
    )
    self.refuse("unknown option '--restarts'", "run.sh", "--restarts")
    self.refuse("nothing comes behind --", "delete.sh", "--", "x")
    self.refuse("expected a whole number, got 'x'", "run.sh", "--restarts=x")
    self.refuse("expected a whole number, got ''", "follow.sh", "--lines=")
    self.refuse("nothing or 'spot', got 'now'", "run.sh", "--recreate=now")
    self.refuse("there is no command. It comes behind --", "run.sh")

  def test_settings_that_are_wrong_are_named(self):
    self.refuse(
      "there is no settings file 'x.env'. Copy", "create.sh", "--settings=x.env"
    )
    self.write_settings(ZONE="", BUCKET="")
    self.refuse("tpu.env lacks: ZONE BUCKET.", "create.sh")
    self.write_settings(ZONES="x")
    self.refuse("line 6: unknown setting 'ZONES'. Known: PROJECT", "create.sh")
    self.write_settings(BUCKET="my-bucket")
    self.refuse("BUCKET must start with gs://, got 'my-bucket'", "create.sh")
    self.write_settings(TYPE="tpu7x-8")
    self.refuse(
      "no image is known for TYPE 'tpu7x-8'. Known: v2-N", "create.sh"
    )
    self.write_settings(TYPE="v6e-16")
    self.refuse("does not know v6e. What works: v6e-1, v6e-4", "create.sh")

  def test_create_says_when_the_slice_will_not_come(self):
    self.plan(describe=("0 FAILED",))
    done = self.start("create.sh", "--wait")
    self.assertEqual(done.returncode, 2)
    self.assertIn("flan is FAILED", done.stderr)
    self.assertIn("launch/tpu/delete.sh removes the request", done.stderr)

  def test_install_copies_the_checkout_or_clones(self):
    self.plan(describe=("0 ACTIVE",))
    self.assertEqual(self.start("install.sh").returncode, 0)
    _, copy, unpack, install = self.asked()
    self.assertRegex(copy, r"^tpu-vm scp \S+/flan.tar.gz flan:flan.tar.gz ")
    self.assertIn("tar -xzf flan.tar.gz -C flan", unpack)
    self.assertEndsWith(
      install, "--worker=all --command=flan/launch/tpu/_worker.sh install"
    )
    (self.bin / "asked").unlink()
    setup = "sudo apt-get install -y python3.12"
    self.write_settings(SOURCE="https://x.org/f.git", PYTHON_SETUP=setup)
    self.assertEqual(self.start("install.sh").returncode, 0)
    _, clone, install = self.asked()
    self.assertIn("git clone --depth=1 https://x.org/f.git flan", clone)
    self.assertIn(f"PYTHON_SETUP='{setup}' flan/launch", install)
    self.plan(describe=("1",))
    done = self.start("install.sh")
    self.assertEqual(done.returncode, 2)
    self.assertIn(
      "there is no slice flan. First: launch/tpu/create.sh", done.stderr
    )

  def run_command(self, *flags: str) -> subprocess.CompletedProcess:
    return self.start("run.sh", "--poll=0", *flags, *TRAIN)

  def counts(self) -> dict[str, int]:
    words = ("create", "delete", "scp", "serve", " run ")
    return {word: sum(word in line for line in self.asked()) for word in words}

  def test_what_asks_for_another_try_gets_it(self):
    self.plan(describe=("0 ACTIVE",), run=("75", "0"), is_running=("0 no",))
    done = self.run_command()
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn("ended with status 75", done.stderr)
    self.assertIn("restart 1 of 100", done.stderr)
    counts = self.counts()
    self.assertEqual((counts["serve"], counts[" run "]), (2, 2))
    # New servers, on all workers, come before the command, on the first.
    _, _, serve, run, *_ = self.asked()
    self.assertIn("--worker=all", serve)
    self.assertIn("--worker=0", run)

  def test_a_lost_connection_is_tried_again_and_follows(self):
    self.plan(
      describe=("0 ACTIVE",), run=("255", "0"), is_running=("0 no", "0 yes")
    )
    self.assertEqual(self.run_command().returncode, 0)
    counts = self.counts()
    # Where the command goes on, its servers stay.
    self.assertEqual((counts["serve"], counts[" run "]), (1, 2))

  def test_an_error_of_its_own_is_not_tried_again(self):
    self.plan(describe=("0 ACTIVE",), run=("3",), is_running=("0 no",))
    done = self.run_command()
    self.assertEqual(done.returncode, 3)
    self.assertIn("an error of its own", done.stderr)
    self.assertEqual(self.counts()[" run "], 1)

  def test_no_more_often_than_it_may(self):
    self.plan(describe=("0 ACTIVE",), run=("75",), is_running=("0 no",))
    done = self.run_command("--restarts=2")
    self.assertEqual(done.returncode, 75)
    self.assertIn("no restarts are left (--restarts=2)", done.stderr)
    self.assertEqual(self.counts()[" run "], 3)

  def test_a_slice_that_was_taken_away_is_waited_for_or_made_again(self):
    gone = ("0 ACTIVE", "0 SUSPENDING", "0 SUSPENDING", "0 SUSPENDED")
    self.plan(describe=gone, run=("1", "0"), is_running=("0 no",))
    done = self.run_command()
    self.assertEqual(done.returncode, 2)
    self.assertIn("flan is SUSPENDED", done.stderr)
    self.assertIn("will not come by itself", done.stderr)
    (self.bin / "asked").unlink()

    back = ("0 SUSPENDED", "0 SUSPENDED", "0 ACTIVE")
    self.plan(describe=(*gone[:2], *back), run=("1", "0"))
    done = self.run_command("--recreate=spot")
    self.assertEqual(done.returncode, 0, done.stderr)
    counts = self.counts()
    self.assertEqual(
      (counts["delete"], counts["create"], counts["scp"]), (1, 1, 1)
    )
    self.assertEqual((counts["serve"], counts[" run "]), (2, 2))
    (create,) = [line for line in self.asked() if " create " in line]
    self.assertIn(" --spot --async", create)

  def test_stop_asks_the_first_worker(self):
    self.assertEqual(self.start("run.sh", "--stop").returncode, 0)
    (line,) = self.asked()
    self.assertEndsWith(
      line, "--worker=0 --command=flan/launch/tpu/_worker.sh stop"
    )

  def test_follow_reads_the_bucket_where_the_slice_is_gone(self):
    (self.bin / "other").write_text("0 said last\n")
    self.plan(describe=("0 SUSPENDED",))
    gcloud = self.bin / "gcloud"
    gcloud.write_text(
      gcloud.read_text().replace(
        "*) plan=other", '*" ssh "*) exit 1 ;;\n  *) plan=other'
      )
    )
    done = self.start("follow.sh", "--once", "--lines=3")
    self.assertEqual(done.stdout.split("\n")[:2], ["SUSPENDED", "said last"])
    self.assertIn("--command=tail -n 3 .flan/log", self.asked()[1])
    self.assertEqual(
      self.asked()[2], "storage cat gs://my-bucket/logs/flan.txt"
    )


if __name__ == "__main__":
  absltest.main()
