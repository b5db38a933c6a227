"""Programs, token ids and files of a small run are what they were.

`golden/pins.json` has them; see tests/helpers/pins.py. To accept a change:

  python -m tests.helpers.pins --update_golden [--only=NAME,...]

Where the TPU tools' environment has not been made (`source
tools/python/environment.sh tpu`), programs for TPUs are skipped.
"""

import copy

from absl.testing import absltest, parameterized

from flan_tf.tpu_plan.planner import compiler_process
from tests.helpers import pins, toys

_SHOWN = 20


def setUpModule():
  toys.open_cores()


class PinsTest(parameterized.TestCase):
  @parameterized.parameters(*pins.PINS)
  def test_nothing_has_changed(self, name):
    if name == "tpu_programs" and not compiler_process.is_installed():
      self.skipTest("The TPU tools are not here: environment.sh tpu.")
    before = {name: pins.read(pins.GOLDEN)[name]}
    found = list(pins.differences(before, pins.measure([name]), exact=False))
    lines = "\n".join(found[:_SHOWN])
    self.assertEmpty(
      found,
      f"{len(found)} values differ from {pins.GOLDEN.name}:\n{lines}\nIf the"
      " change is meant, accept it with\n"
      f"  python -m tests.helpers.pins --update_golden --only={name}\n",
    )


class DifferencesTest(absltest.TestCase):
  BEFORE = {"one": {"sha256": "a", "loss": 2.0, "texts": ["x", "y"]}}

  def differences(self, key, value, exact=True):
    now = copy.deepcopy(self.BEFORE)
    now["one"][key] = value
    return list(pins.differences(self.BEFORE, now, exact))

  def test_equal_values_have_none(self):
    self.assertEmpty(self.differences("loss", 2.0))

  def test_the_keys_lead_to_a_difference(self):
    (line,) = self.differences("texts", ["x", "z"])
    self.assertStartsWith(line, " > one > texts > 1\n")
    self.assertIn("before: 'y'\n", line)
    self.assertEndsWith(line, "now:    'z'")

  def test_keys_and_items_that_are_missing(self):
    (line,) = self.differences("more", 1)
    self.assertIn("before: '(missing)'", line)
    self.assertLen(self.differences("texts", ["x"]), 1)

  def test_rounding_is_a_difference_only_where_floats_are_exact(self):
    self.assertLen(self.differences("loss", 2.0001), 1)
    self.assertEmpty(self.differences("loss", 2.0001, exact=False))
    self.assertLen(self.differences("loss", 2.1, exact=False), 1)

  def test_digests_of_floats_count_only_where_floats_are_exact(self):
    self.assertLen(self.differences("sha256", "b"), 1)
    self.assertEmpty(self.differences("sha256", "b", exact=False))


class NamesTest(absltest.TestCase):
  def test_symbols_are_numbered_in_their_order(self):
    text = 'func @main.1 calls @"a b" and @c.d_2, then @"a b"'
    self.assertEqual(
      pins.without_names(text), "func @0 calls @1 and @2, then @1"
    )


if __name__ == "__main__":
  absltest.main()
