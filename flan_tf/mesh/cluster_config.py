"""Checks the environment variable TF_CONFIG, which names the hosts of a run."""

import json
import os
from typing import Any

_EXAMPLE = (
  '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type":'
  ' "worker", "index": 0}}'
)


def check_cluster_config(text: str) -> None:
  """Checks that TF_CONFIG names the hosts and which of them this one is.

  Args:
    text: value of the variable.

  Raises:
    ValueError: a part is missing or of another type.
  """
  try:
    value = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise _error(text, f"it is not valid JSON ({error})") from None
  if not isinstance(value, dict):
    raise _error(text, "it is not a JSON object")
  cluster = value.get("cluster")
  if not isinstance(cluster, dict) or not cluster:
    raise _error(text, '"cluster" does not name the hosts of any job')
  for job, addresses in cluster.items():
    if not _are_addresses(addresses):
      raise _error(
        text, f'"cluster" has no list of "HOST:PORT" for the job {job!r}'
      )
  task = value.get("task")
  if not isinstance(task, dict) or task.get("type") not in cluster:
    raise _error(text, '"task" has no "type" that is a job of "cluster"')
  hosts = len(cluster[task["type"]])
  index = str(task.get("index"))
  if not index.isdecimal() or int(index) >= hosts:
    raise _error(
      text, f'"index" of "task" is no number from 0 to {hosts - 1}, but {index}'
    )


def is_first_host() -> bool:
  """Returns whether this process is the host that writes files for all hosts.

  Raises:
    ValueError: TF_CONFIG is wrong.
  """
  text = os.environ.get("TF_CONFIG")
  if text is None:
    return True
  check_cluster_config(text)
  value = json.loads(text)
  # If the cluster names a chief, it comes before the workers.
  first = "chief" if "chief" in value["cluster"] else "worker"
  return value["task"]["type"] == first and int(value["task"]["index"]) == 0


def _are_addresses(value: Any) -> bool:
  return (
    isinstance(value, list)
    and bool(value)
    and all(isinstance(address, str) and ":" in address for address in value)
  )


def _error(text: str, problem: str) -> ValueError:
  shown = text if len(text) <= 200 else f"{text[:200]}..."
  return ValueError(
    f"TF_CONFIG is {shown!r}: {problem}. Expected for example {_EXAMPLE} on the"
    " first of two hosts. launch/hosts.sh sets it; for a run on one host, unset"
    " it."
  )
