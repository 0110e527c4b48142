"""What would have happened: traces replayed through the decisions that run live, and through today's autoscalers."""
