"""Asking for notifications: chat-service writes their texts, stores and delivers them."""
