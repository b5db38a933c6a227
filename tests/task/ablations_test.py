"""Held-out clusters and ablations: no evaluated task trains."""

from absl.testing import absltest, parameterized

import tasks
from flan_tf import config, name_lists
from flan_tf.task import ablations, catalog, holdout, registry, schema
from launch.configs import ablation, sizes

REGISTRY = registry.TaskRegistry(tasks.ALL)


def published_rate(held_out: tuple[str, ...]) -> tuple[int, int]:
  """Returns (tasks, sum of rates) of the published mixture."""
  chosen = holdout.training_tasks(REGISTRY, held_out)
  sizes_of = {task.name: task.published_rows for task in chosen}
  found = catalog.mixture(chosen, sizes_of)
  return len(found["tasks"]), found["total_rate"]


class PublishedMixtureTest(parameterized.TestCase):
  @parameterized.parameters(
    ("", 69, 188_330),
    ("nli", 55, 152_240),
    ("paraphrase", 55, 152_240),
    ("reading_comprehension", 61, 164_330),
    ("commonsense", 63, 174_310),
    ("reading_comprehension_commonsense", 57, 156_310),
    ("closed_book_qa", 65, 179_380),
    ("translation", 61, 164_330),
    ("coreference", 66, 183_710),
    ("sentiment", 65, 176_330),
    ("struct_to_text", 65, 176_330),
  )
  def test_total_rates(self, held_out, count, total):
    names = name_lists.split_names(held_out)
    self.assertEqual(published_rate(names), (count, total))

  def test_probabilities_sum_to_one(self):
    sizes_of = {task.name: task.published_rows for task in REGISTRY}
    found = catalog.mixture(REGISTRY, sizes_of)["tasks"]
    self.assertAlmostEqual(sum(task["probability"] for task in found), 1)
    self.assertNotIn("wsc273", [task["name"] for task in found])


class HeldOutTest(parameterized.TestCase):
  """Section 2.2 of the paper: clusters that are excluded together."""

  @parameterized.parameters(
    ("", ()),
    ("nli", ("nli", "paraphrase")),
    ("paraphrase", ("paraphrase", "nli")),
    ("commonsense", ("commonsense", "reading_comprehension_commonsense")),
    (
      "reading_comprehension",
      ("reading_comprehension", "reading_comprehension_commonsense"),
    ),
    (
      "reading_comprehension_commonsense",
      (
        "reading_comprehension_commonsense",
        "commonsense",
        "reading_comprehension",
      ),
    ),
    ("sentiment", ("sentiment",)),
    ("translation", ("translation",)),
  )
  def test_excluded_clusters(self, held_out, expected):
    names = name_lists.split_names(held_out)
    self.assertCountEqual(holdout.excluded_clusters(names), expected)

  def assert_nothing_leaks(self, held_out: tuple[str, ...], trained) -> None:
    """Asserts that no evaluated task, data set, template or row trains."""
    evaluated = holdout.held_out_tasks(REGISTRY, held_out)
    self.assertNotEmpty(evaluated)
    self.assertNotEmpty(trained)
    for identity in (
      lambda task: task.name,
      lambda task: task.dataset,
      # Tasks that share a training split have a range of rows each.
      lambda task: (task.source.name, task.source.splits.part),
    ):
      self.assertEmpty(
        set(map(identity, trained)) & set(map(identity, evaluated))
      )
    wordings = [{t.inputs for t in task.templates} for task in evaluated]
    for task in trained:
      own = {template.inputs for template in task.templates}
      self.assertFalse(any(own & other for other in wordings), task.name)
      self.assertTrue(task.trains, task.name)

  @parameterized.parameters(*schema.CLUSTERS)
  def test_clusters(self, cluster):
    held_out = (cluster,)
    trained = holdout.training_tasks(REGISTRY, held_out)
    self.assert_nothing_leaks(held_out, trained)
    clusters = {task.cluster for task in trained}
    self.assertEmpty(clusters & set(holdout.excluded_clusters(held_out)))

  def test_several_clusters(self):
    held_out = ablations.CLUSTER_HELD_OUT
    self.assert_nothing_leaks(
      held_out, holdout.training_tasks(REGISTRY, held_out)
    )
    self.assertCountEqual(
      holdout.excluded_clusters(held_out),
      (
        "nli",
        "closed_book_qa",
        "commonsense",
        "paraphrase",
        "reading_comprehension_commonsense",
      ),
    )

  def test_a_task_takes_its_data_set_with_it(self):
    held_out = holdout.expand(REGISTRY, ("anli_r1", "cb"))
    self.assertEqual(held_out, ("anli_r1", "anli_r2", "anli_r3", "cb"))
    trained = {t.name for t in holdout.training_tasks(REGISTRY, held_out)}
    self.assertIn("rte", trained)
    self.assertEmpty(trained & set(held_out))
    self.assertTrue(holdout.forbids(held_out, "anli_r2", "nli"))
    self.assertFalse(holdout.forbids(held_out, "rte", "nli"))

  def test_tasks_that_are_only_evaluated_do_not_train(self):
    with self.assertRaisesRegex(
      ValueError, "wsc273: these tasks are only evaluated"
    ):
      holdout.chosen_training_tasks(REGISTRY, (), ("wsc273", "rte"))
    chosen = holdout.chosen_training_tasks(REGISTRY, clusters=("coreference",))
    self.assertNotIn("wsc273", [task.name for task in chosen])

  def test_nothing_held_out(self):
    chosen = {task.name for task in holdout.training_tasks(REGISTRY)}
    evaluated = {task.name for task in tasks.ALL if not task.trains}
    self.assertEqual(chosen | evaluated, {task.name for task in tasks.ALL})
    self.assertEqual(evaluated, {"wsc273"})

  def test_misspelt(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'wnli'"):
      holdout.expand(REGISTRY, ("wnly",))

  def test_a_text_is_not_taken_for_a_list_of_names(self):
    for function in (
      lambda: holdout.expand(REGISTRY, "nli"),
      lambda: holdout.forbids("nli", "rte", "nli"),
      lambda: holdout.excluded_clusters("nli"),
    ):
      with self.assertRaisesRegex(
        TypeError, "expected a tuple of names, got the text 'nli'"
      ):
        function()

  def chosen(self, subset: ablations.Subset):
    """Returns the tasks of a subset in the way in which a run chooses them."""
    return holdout.chosen_training_tasks(
      REGISTRY, holdout.expand(REGISTRY, subset.held_out), subset.tasks
    )

  @parameterized.parameters(*range(1, 8))
  def test_cluster_counts(self, count):
    subset = ablations.cluster_count(REGISTRY, count)
    self.assert_nothing_leaks(subset.held_out, self.chosen(subset))
    # The counts of the published code. The paper's figure has one task more
    # from the second point on, since it counts nine translation data sets.
    expected = (11, 19, 25, 29, 33, 36, 38)[count - 1]
    self.assertLen(subset.tasks, expected)

  @parameterized.parameters(*range(1, 5))
  def test_data_sets_per_cluster(self, count):
    subset = ablations.datasets_per_cluster(REGISTRY, count)
    trained = self.chosen(subset)
    self.assert_nothing_leaks(subset.held_out, trained)
    found: dict[str, set[str]] = {}
    for task in trained:
      of_cluster = found.setdefault(ablations.small_cluster(task), set())
      of_cluster.add(task.dataset)
    for cluster, datasets in found.items():
      self.assertLessEqual(len(datasets), count, cluster)
    if count > 1:
      fewer = ablations.datasets_per_cluster(REGISTRY, count - 1)
      self.assertContainsSubset(fewer.tasks, subset.tasks)

  @parameterized.parameters(0, 5, 30, 55)
  def test_superglue(self, count):
    subset = ablations.superglue(REGISTRY, count)
    trained = self.chosen(subset)
    self.assert_nothing_leaks(subset.held_out, trained)
    self.assertContainsSubset(ablations.SUPERGLUE, subset.held_out)
    if count:
      self.assertLen(subset.tasks, count)
      more = ablations.superglue(REGISTRY, count + 1)
      self.assertContainsSubset(subset.tasks, more.tasks)

  def test_intra_cluster(self):
    seen: dict[str, set[str]] = {}
    for split in range(10):
      subset = ablations.intra_cluster(REGISTRY, split)
      trained = self.chosen(subset)
      self.assert_nothing_leaks(subset.held_out, trained)
      for name in subset.held_out:
        task = REGISTRY.get(name)
        seen.setdefault(ablations.small_cluster(task), set()).add(name)
        # The rest of its cluster trains.
        self.assertIn(
          ablations.small_cluster(task), map(ablations.small_cluster, trained)
        )
    for cluster in ("nli", "sentiment", "closed_book_qa", "translation"):
      names = {task.name for task in REGISTRY.cluster(cluster)}
      self.assertEqual(seen[cluster], names)

  def test_counts_out_of_range(self):
    with self.assertRaisesRegex(ValueError, "clusters: expected 1 to 7, got 8"):
      ablations.cluster_count(REGISTRY, 8)
    with self.assertRaisesRegex(ValueError, "split: expected 0 to 9, got 10"):
      ablations.intra_cluster(REGISTRY, 10)


class RunTest(parameterized.TestCase):
  """The run file launch/configs/ablation.py and its settings."""

  @parameterized.parameters(
    "",
    "clusters=3",
    "datasets=2,size=8b",
    "superglue=15",
    "intra=4,templates=1",
    "held_out=translation,wording=no_template",
    "held_out=nli+closed_book_qa,wording=dataset_name,templates=1,size=422m",
  )
  def test_is_a_run_that_holds_out_what_it_says(self, settings):
    run = config.from_mapping(ablation.get_config(settings).to_dict())
    held_out = holdout.expand(REGISTRY, run.held_out)
    chosen = holdout.chosen_training_tasks(REGISTRY, held_out, run.data.tasks)
    self.assertNotEmpty(chosen)
    self.assertNotEmpty(holdout.held_out_tasks(REGISTRY, held_out))

  def test_settings_arrive(self):
    run = ablation.run("clusters=2,size=2b,wording=dataset_name,templates=4")
    self.assertLen(run.data.tasks, 19)
    self.assertEqual(run.model.d_model, 2560)
    self.assertEqual(run.data.wording, "dataset_name")
    self.assertEqual(run.data.templates, 4)

  @parameterized.parameters(
    ("cluster=3", "Did you mean 'clusters'"),
    ("clusters=x", "clusters: expected a number, got 'x'"),
    ("size=9b", "Unknown size '9b'"),
    ("clusters=1,held_out=nli", "give only one of clusters"),
    ("wording=none", "Unknown value 'none'"),
  )
  def test_errors(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      ablation.run(settings)

  @parameterized.parameters(
    ("422m", 0.42e9),
    ("2b", 2.1e9),
    ("8b", 8.6e9),
    ("68b", 68.7e9),
    ("137b", 137.4e9),
  )
  def test_sizes_are_what_they_are_called(self, name, expected):
    found = sizes.layer_parameters(sizes.SIZES[name])
    self.assertAlmostEqual(found / expected, 1, delta=0.005)


if __name__ == "__main__":
  absltest.main()
