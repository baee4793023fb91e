"""Every entity, declared once. Importing this package fills `sync.schema.REGISTRY`."""

from sync.entities.conflicts import Conflict
from sync.entities.customers import Account, Activity, Asset, Contact, Site
from sync.entities.people import Depot, Position, Profile, Shift, SkillHeld, Technician
from sync.entities.sales import Lead, Opportunity, Quote
from sync.entities.stock import PriceBook, PriceEntry, Product, StockCount, StockMove
from sync.entities.work import Appointment, Attachment, PartUsed, TimeEntry, WorkOrder, WorkOrderTask

__all__ = [
    "Account",
    "Activity",
    "Appointment",
    "Asset",
    "Attachment",
    "Conflict",
    "Contact",
    "Depot",
    "Lead",
    "Opportunity",
    "PartUsed",
    "Position",
    "PriceBook",
    "PriceEntry",
    "Product",
    "Profile",
    "Quote",
    "Shift",
    "Site",
    "SkillHeld",
    "StockCount",
    "StockMove",
    "Technician",
    "TimeEntry",
    "WorkOrder",
    "WorkOrderTask",
]
