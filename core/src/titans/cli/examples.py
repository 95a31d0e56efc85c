"""What `--help` of each command shows it with: lines to copy and change."""

from __future__ import annotations

import click

__all__ = ["EXAMPLES", "show_examples"]

EXAMPLES: dict[str, tuple[str, ...]] = {
    "amend": (
        "titans amend --at 2026-01-23T09:10Z --key AZ=a1 --set SpotPrice=0.1 --reason unit -p aws",
    ),
    "backfill": (
        "titans backfill snapshots.parquet -p aws --store prices --workers 2",
        "titans backfill snapshots/ --time-from-name prices-%Y-%m-%dT%H%M --engine dask -p aws",
    ),
    "catalog": (
        "titans catalog --store s3://my-bucket/prices",
        "titans catalog --format html --out catalog.html",
    ),
    "changes": (
        "titans changes --from 2026-01-23T09:00Z --to 2026-01-23T10:00Z -p aws",
        'titans changes --where "SpotPrice > 1" --format csv --out changes.csv -p aws',
    ),
    "check": (
        "titans check --store s3://my-bucket/prices",
        "titans check --format prometheus",
    ),
    "compact": ("titans compact -p aws",),
    "convert": ("titans convert s3://old-bucket s3://new-bucket -p aws",),
    "copy": ("titans copy prices s3://my-bucket/backup --deep",),
    "coverage": ("titans coverage --from 2026-01-23 --to 2026-01-24 -p aws",),
    "demo": ("titans demo", "titans demo --folder prices --slots 200"),
    "diff": ("titans diff --from 2026-01-22 --to 2026-01-23 --key Region=eu-west-1 -p aws",),
    "erase": ("titans erase --key Region=eu-west-1 --reason asked-to --dry-run -p aws",),
    "files": ("titans files --from 2026-01-01 --to 2026-02-01 --format json -p aws",),
    "freshness": ("titans freshness -p aws || echo late",),
    "grid": (
        "titans grid --from 2026-01-01 --to 2026-02-01 --every 1h --out panel.parquet -p aws",
    ),
    "history": ("titans history --key InstanceType=m5.large --key AZ=use1-az1 -p aws",),
    "ingest": (
        "titans ingest snapshots/ --time-from-name prices-%Y-%m-%dT%H%M -p aws",
        "titans ingest prices.json --at 2026-01-23T09:13Z --records data.items -p aws",
        "titans ingest --git prices-repo --path prices.json --every 1h -p aws",
    ),
    "intervals": ("titans intervals --key InstanceType=m5.large --format csv -p aws",),
    "latest": (
        "titans latest -p aws --store s3://my-bucket/prices",
        "titans latest --key Region=eu-west-1 --column SpotPrice -p aws",
    ),
    "new-provider": ("titans new-provider newcloud",),
    "plugins": ("titans plugins", "titans plugins show aws", "titans plugins doctor aws"),
    "publish": ("titans publish iceberg -p aws", "titans publish iceberg --catalog glue -p aws"),
    "repair": ("titans repair -p aws", "titans repair --yes -p aws"),
    "replay": ("titans replay snapshots.parquet -p aws --store prices",),
    "retain": ("titans retain --since 2025-01 --reason policy --dry-run -p aws",),
    "retract": ("titans retract --at 2026-01-23T09:10Z --reason broken-download -p aws",),
    "seal": ("titans seal 2026-01 -p aws",),
    "sql": (
        'titans sql "select Region, avg(SpotPrice) from latest group by 1" -p aws',
        "titans sql \"from state(at := '2026-01-23T09:13Z') limit 5\" -p aws",
    ),
    "state": ("titans state --at 2026-01-23T09:13Z -p aws --store s3://my-bucket/prices",),
    "status": ("titans status --store prices", "titans status --amendments -p aws"),
    "trace": (
        "titans trace state --at 2026-01-23T09:13Z --key Region=eu-west-1 -p aws",
        "titans trace history --key InstanceType=m5.large --plan --format json -p aws",
    ),
    "upload": ("titans upload changes.parquet --at 2026-01-23T09:13Z -p aws",),
    "vacuum": ("titans vacuum --grace 6h -p aws",),
    "verify": ("titans verify --deep -p aws",),
}


def show_examples(group: click.Group) -> None:
    """Put the examples under the help of the commands."""
    for name, lines in EXAMPLES.items():
        command = group.commands[name]
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
