"""What the paper reached: its cells give the averages that it prints."""

import dataclasses

from absl.testing import absltest, parameterized

import tasks
from flan_tf.eval import results
from flan_tf.report import cells, paper_averages, published, tables
from flan_tf.task import registry

_KNOWN = registry.TaskRegistry(tasks.ALL)
# Figure 9's few-shot mean of closed-book QA rests on cells that are not sure.
_NOT_REPRODUCED = {
  ("all four of closed-book QA (Figure 9)", published.FLAN_FEW)
}


def _result(name, value, metric="", **others):
  task = _KNOWN.get(name)
  return results.TaskResult(
    task=name,
    dataset=task.dataset,
    cluster=task.cluster,
    kind=task.kind,
    metric=metric or published.PUBLISHED[name].metric,
    templates=(results.TemplateScore(0, test=value, others=others),),
    examples=1000,
  )


def _as_results(system, wiki):
  """The published cells of a system, as if we had measured them."""
  cells = dict(published.PUBLISHED)
  if wiki:
    cells["trivia_qa"] = published.TRIVIA_QA_WIKI
  values = {name: cell.mean(system) for name, cell in cells.items()}
  return results.EvaluationResults(
    checkpoint="the paper",
    label=system,
    tasks=tuple(
      _result(name, value)
      for name, value in values.items()
      if value is not None
    ),
  )


class NamedAveragesTest(parameterized.TestCase):
  @parameterized.named_parameters(
    (f"{named_average.name}, {system}", named_average, system, printed)
    for named_average in paper_averages.AVERAGES
    for system, printed in named_average.printed.items()
    if (named_average.name, system) not in _NOT_REPRODUCED
  )
  def test_published_cells_give_the_printed_mean(
    self, average, system, printed
  ):
    found = _as_results(system, wiki="Figure 1" in average.name)
    ours = dict(
      (a.name, mean) for a, mean in paper_averages.named_averages(found)
    )[average.name]
    self.assertAlmostEqual(ours.value, printed, delta=0.0501)
    self.assertEmpty(ours.missing + ours.other_metric)

  def test_the_figures_of_the_issue(self):
    found = _as_results(published.FLAN_ZERO, wiki=True)
    texts = [
      paper_averages.written(ours)
      for average, ours in paper_averages.named_averages(found)
      if "Figure 1" in average.name
    ]
    self.assertEqual(texts, ["56.2", "77.4", "56.6"])

  def test_the_mean_of_all_tasks_of_a_cluster_is_another(self):
    found = _as_results(published.FLAN_ZERO, wiki=False)
    self.assertAlmostEqual(found.clusters["nli"], 54.7, delta=0.05)
    self.assertAlmostEqual(found.clusters["closed_book_qa"], 53.7, delta=0.05)
    heads, *rows = tables.named_averages([found])
    self.assertEqual(heads[1:], [found.label, *published.SYSTEMS])
    self.assertIn(
      [
        "ANLI R1 to R3, CB, RTE (Figure 1)",
        "56.2",
        "42.9",
        "53.2",
        "56.2",
        "–",
      ],
      rows,
    )

  def test_a_missing_task_is_named(self):
    found = _as_results(published.FLAN_ZERO, wiki=True)
    some = [r for r in found.tasks if r.task in ("anli_r1", "cb")]
    found = dataclasses.replace(found, tasks=tuple(some))
    nli, all_of_nli = paper_averages.named_averages(found)
    self.assertIsNone(nli[1].value)
    self.assertEqual(nli[1].missing, ("anli_r2", "anli_r3", "rte"))
    self.assertEqual(
      paper_averages.written(nli[1]), "without anli_r2, anli_r3, rte"
    )
    self.assertLen(all_of_nli[1].missing, 8)
    self.assertLen(tables.named_averages([found]), 1)

  def test_the_metric_is_the_paper_s_where_we_have_it(self):
    (average,) = [
      a for a in paper_averages.AVERAGES if a.name.startswith("ANLI")
    ]
    found = _as_results(published.FLAN_ZERO, wiki=True)
    others = [r for r in found.tasks if r.task != "cb"]
    as_other = _result("cb", 1.0, "macro_f1", accuracy=64.1)
    ours = paper_averages.ours(
      dataclasses.replace(found, tasks=(*others, as_other)), average
    )
    self.assertAlmostEqual(ours.value, 56.2)
    without = _result("cb", 64.1, "macro_f1")
    ours = paper_averages.ours(
      dataclasses.replace(found, tasks=(*others, without)), average
    )
    self.assertEqual(ours.other_metric, ("cb",))
    self.assertEqual(paper_averages.written(ours), "56.2†")


class PublishedTest(absltest.TestCase):
  def test_every_cell_counts_what_a_task_of_ours_counts(self):
    for name, found in published.PUBLISHED.items():
      self.assertIn(found.metric, _KNOWN.get(name).metrics)
      self.assertTrue(found.source)
      self.assertContainsSubset(found.cells, published.SYSTEMS)
      for cell in found.cells.values():
        for value in (cell.mean, cell.best_dev):
          self.assertBetween(50.0 if value is None else value, 1, 100)

  def test_what_is_not_sure_has_no_cell(self):
    for name in ("drop", "squad_v1", "imdb_reviews", "wsc273", "cosmos_qa"):
      self.assertNotIn(name, published.PUBLISHED)
    copa = published.PUBLISHED["copa"]
    self.assertIsNone(copa.mean(published.GPT3_ZERO))
    self.assertNotIn("LaMDA", " ".join(published.SYSTEMS))
    self.assertIn("No figure of LaMDA-PT", published.ABOUT)

  def test_another_metric_is_marked(self):
    ours = _result("multirc", 50.0)
    self.assertEqual(cells.of_paper(ours, published.FLAN_ZERO), "74.5")
    ours = dataclasses.replace(ours, metric="accuracy")
    self.assertEqual(cells.of_paper(ours, published.FLAN_ZERO), "74.5†")
    ours = _result("bool_q", 50.0)
    self.assertEqual(
      cells.of_paper(ours, published.FLAN_ZERO, best=True), "82.9"
    )
    self.assertEqual(cells.of_paper(ours, published.FLAN_FEW), cells.ABSENT)


if __name__ == "__main__":
  absltest.main()
