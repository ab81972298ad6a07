"""Estimates pi by throwing darts: one job, one stage. Usage: pi.py [PARTITIONS]"""

import random
import sys

from pyspark.sql import SparkSession

DARTS_PER_PARTITION = 100_000


def hits(seed):
    dart = random.Random(seed)
    return sum(dart.random() ** 2 + dart.random() ** 2 <= 1 for _ in range(DARTS_PER_PARTITION))


def main():
    partitions = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    spark = SparkSession.builder.appName("pi").getOrCreate()
    total = spark.sparkContext.parallelize(range(partitions), partitions).map(hits).sum()
    print(f"Pi is roughly {4 * total / (partitions * DARTS_PER_PARTITION):.4f}")
    spark.stop()


if __name__ == "__main__":
    main()
