"""What the server answers over HTTP besides the exchange itself, a module for each concern; `server.app` puts them on the wire."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from server.routes import (
    campaigns,
    customers,
    events,
    intake,
    kpis,
    leads,
    notifications,
    office,
    plans,
    records,
    sales,
    service,
    surveys,
)

_ALL: Final = (office, plans, records, notifications, customers, campaigns, events, intake, kpis, leads, sales, service, surveys)
ROUTES: Final[tuple[HTTPRouteHandler, ...]] = tuple(route for module in _ALL for route in module.ROUTES)
