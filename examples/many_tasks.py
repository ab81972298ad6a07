"""Runs many tiny tasks, as fast as Spark schedules them: a load test. Usage: many_tasks.py [TASKS]"""

import sys
import time

from pyspark.sql import SparkSession


def main():
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    spark = SparkSession.builder.appName("many tasks").getOrCreate()
    begin = time.monotonic()
    # Rows made and counted inside the JVM: a Python worker for each task would be the slowest part.
    counted = spark.range(0, tasks, 1, tasks)._jdf.queryExecution().toRdd().count()
    seconds = time.monotonic() - begin
    assert counted == tasks, counted
    print(f"{tasks} tasks in {seconds:.1f} s, {tasks / seconds:.0f} tasks/s")
    spark.stop()


if __name__ == "__main__":
    main()
