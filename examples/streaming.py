"""Structured Streaming: counts generated rows by window, ends after some triggers. Usage: streaming.py [TRIGGERS]"""

import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

LONGEST_SECONDS = 120


def main():
    triggers = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    spark = SparkSession.builder.appName("streaming").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    rows = spark.readStream.format("rate").option("rowsPerSecond", 50).load()
    counts = rows.groupBy(F.window("timestamp", "5 seconds")).count()
    query = (
        counts.writeStream.queryName("rows by window")
        .outputMode("complete")
        .format("console")
        .trigger(processingTime="1 second")
        .start()
    )
    deadline = time.monotonic() + LONGEST_SECONDS
    while query.isActive and time.monotonic() < deadline:
        if query.lastProgress and query.lastProgress["batchId"] + 1 >= triggers:
            break
        time.sleep(0.2)
    query.stop()
    spark.stop()


if __name__ == "__main__":
    main()
