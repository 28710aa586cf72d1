"""PostgreSQL, Valkey, RabbitMQ and a mail catcher as child processes, ended with whatever started them."""
