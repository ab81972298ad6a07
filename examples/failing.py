"""Fails on purpose: the third partition raises, Spark gives up the job, and the application ends with an error."""

from pyspark.sql import SparkSession


def check(number):
    if number == 2:
        raise ValueError("this partition always fails")
    return number


def main():
    spark = SparkSession.builder.appName("failing").getOrCreate()
    spark.sparkContext.parallelize(range(4), 4).map(check).count()
    spark.stop()


if __name__ == "__main__":
    main()
