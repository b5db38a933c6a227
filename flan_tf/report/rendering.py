"""Renders the Jinja templates of the report, `*.j2` in this folder."""

import functools
import os
from typing import Any


def render(template: str, **values: Any) -> str:
  """Returns the text of a template.

  Args:
    template: its file name. In `.html.j2` files, values are escaped for HTML.
      In other files, the template itself must escape them.
    **values: the names that the template uses. A missing name is an error.
  """
  return _environment().get_template(template).render(**values)


@functools.cache
def _environment():
  import jinja2

  return jinja2.Environment(
    loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    # Prompts and answers can contain any text, also HTML.
    autoescape=lambda name: bool(name and name.endswith(".html.j2")),
  )
