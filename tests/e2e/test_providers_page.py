"""The recipes of docs/providers.md work, from the plugin they show to what they print."""

from pathlib import Path

from readme_blocks import blocks

from titans import plugins

PAGE = Path(__file__).resolve().parents[2] / "docs/providers.md"
RECIPES = ("## Schema version 2", "## Hourly slots")


def test_the_recipes_of_other_schemas_and_slots_work(site, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    headings = [n for n, line in enumerate(lines) if line.startswith("## ")]
    parts = [
        (n, min([h for h in headings if h > n], default=len(lines)))
        for n in headings
        if lines[n] in RECIPES
    ]
    assert len(parts) == len(RECIPES)
    names, printed, compared, module = {}, None, 0, None
    for block in blocks(PAGE):
        if not any(first < block.line <= last for first, last in parts):
            continue
        if block.name:
            if module is None:
                module = site.add(
                    block.text,
                    name="newcloud",
                    distribution="titans-newcloud",
                    module="titans_newcloud",
                )
            else:
                site.forget()
                (site.folder / block.name).write_text(block.text)
                plugins.clear()
            assert block.name == f"{module}.py"
            printed = None
        elif block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
            printed = capsys.readouterr().out
        elif block.language == "text":
            assert block.text == printed, (
                f"{PAGE.name}:{block.line}: this is not what the block above prints"
            )
            compared += 1
    assert compared == 5
