"""Asks Spark what a test wants to know, in a process of its own:

    python asked_of_spark.py sail|spark questions.json

A question has options, perhaps a schema and a condition; the answer becomes a Parquet file. With
`rounds`, the table is streamed into a folder, again from the checkpoint after each round of writing.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from datetime import datetime
from pathlib import Path

import polars as pl

import titans


def sail():
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    os.environ["SPARK_HOME"] = sys.prefix  # pyspark-client 4.2 looks for one that it does not need
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    from titans_spark import TitansDataSource

    session.dataSource.register(TitansDataSource)
    session.server = server  # it ends with its last name
    return session


def spark():
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.python.filterPushdown.enabled": "true",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
    }
    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def loaded(reader, question):
    for name, value in question["options"].items():
        reader = reader.option(name, value)
    if "schema" in question:
        reader = reader.schema(question["schema"])
    return reader.load()


def answer(session, name, question):
    try:
        frame = loaded(session.read.format("titans"), question)
        if "where" in question:
            frame = frame.where(question["where"])
        if "select" in question:
            frame = frame.selectExpr(*question["select"])
        pl.DataFrame(frame.toArrow()).write_parquet(f"{name}.parquet")
    except Exception as error:
        if not question.get("fails"):
            raise
        Path(f"{name}.txt").write_text(str(error))


def stream(session, name, question):
    options = question["options"]
    for steps in question["rounds"]:
        archive = titans.open(options["store"], provider=options["provider"])
        for kind, *given in steps:
            if kind == "ingest":
                moment, rows = given
                archive.ingest(pl.DataFrame(rows), datetime.fromisoformat(moment))
            elif kind == "vacuum":
                archive.vacuum("0s")
            else:
                getattr(archive, kind)(*given)
        rows = loaded(session.readStream.format("titans"), question)
        written = rows.writeStream.format("parquet").option("path", str(Path(name).absolute()))
        written = written.option("checkpointLocation", str(Path(name + "-checkpoint").absolute()))
        query = written.trigger(availableNow=True).start()
        query.awaitTermination()


def main():
    warnings.simplefilter("ignore")
    session = {"sail": sail, "spark": spark}[sys.argv[1]]()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    for name, question in json.loads(Path(sys.argv[2]).read_text()).items():
        if "rounds" not in question:
            answer(session, name, question)
        elif sys.argv[1] == "spark":
            stream(session, name, question)
    session.stop()
    os._exit(0)  # not waiting for servers


if __name__ == "__main__":
    main()
