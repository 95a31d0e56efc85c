"""The notebooks of the examples run from top to bottom, and what they show is there."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "examples/notebooks"
SHOWN = {
    "tour": ("text/html", "vega-lite", "SpotPrice", "exactly once"),
    "study": ("text/html", "vega-lite", "volatility", "availability"),
}


def test_every_notebook_is_run_and_is_kept_without_answers():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SHOWN)
    for path in FOLDER.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert not [cell for cell in notebook.cells if cell.get("outputs")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.delenv("TITANS_STORE", raising=False)
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    text = str(outputs)
    for shown in SHOWN[name]:
        assert shown in text, shown
