"""The queue: jobs are kept in the database, Celery carries the news of them to the workers."""
