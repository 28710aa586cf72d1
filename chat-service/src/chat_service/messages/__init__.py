"""Messages: durable, numbered without gaps in each room, stored once however often they are sent."""
