"""Takes a ticket out of the query, so that it is neither logged nor sent on."""

from urllib.parse import unquote_to_bytes

from gateway.exchange import Exchange


def take_ticket(exchange: Exchange) -> None:
    """Move `?ticket=` from the query into the exchange; the server, which may log its scope, sees it no more."""
    if b"ticket=" not in exchange.query:
        return
    kept = []
    for parameter in exchange.query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == b"ticket":
            exchange.ticket = unquote_to_bytes(value).decode("latin-1")
        else:
            kept.append(parameter)
    exchange.query = exchange.scope["query_string"] = b"&".join(kept)
