"""Joins and aggregates skewed sales: SQL with shuffles, where one key holds most of the rows."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

ROWS = 400_000
CUSTOMERS = 1_000


def main():
    spark = (
        SparkSession.builder.appName("sql shuffle & skew")
        .config("spark.sql.shuffle.partitions", 8)
        # Without a broadcast both sides of the join are shuffled, and the skew shows.
        .config("spark.sql.autoBroadcastJoinThreshold", -1)
        .getOrCreate()
    )
    # Nine rows of ten belong to customer 0.
    sales = spark.range(ROWS).select(
        F.when(F.col("id") % 10 != 0, F.lit(0)).otherwise(F.col("id") % CUSTOMERS).alias("customer"),
        (F.col("id") % 97).alias("amount"),
    )
    customers = spark.range(CUSTOMERS).select(
        F.col("id").alias("customer"), F.concat(F.lit("region "), F.col("id") % 7).alias("region")
    )
    sales.createOrReplaceTempView("sales")
    customers.createOrReplaceTempView("customers")
    spark.sql(
        """
        SELECT region, count(*) AS sales, sum(amount) AS amount
        FROM sales JOIN customers USING (customer)
        GROUP BY region ORDER BY amount DESC
        """
    ).show()
    spark.sql("SELECT customer, count(*) AS sales FROM sales GROUP BY customer ORDER BY sales DESC LIMIT 3").show()
    spark.stop()


if __name__ == "__main__":
    main()
