"""Server-side aggregation for Constellation: Flower strategies, validated replies, constant memory."""
