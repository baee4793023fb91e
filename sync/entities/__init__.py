"""Every entity, declared once. Importing this package fills `sync.schema.REGISTRY`."""

from sync.entities.conflicts import Conflict
from sync.entities.customers import Account, Activity, Asset, Contact, Site
from sync.entities.market import (
    BusinessRule,
    Campaign,
    CampaignMember,
    Incentive,
    Offer,
    Quota,
    Recommendation,
    SalesOrder,
    Segment,
)
from sync.entities.people import Absence, Depot, Position, Profile, Shift, SkillHeld, Technician
from sync.entities.sales import Lead, Opportunity, Quote
from sync.entities.service import (
    BusinessHours,
    Case,
    Contract,
    Entitlement,
    KnowledgeArticle,
    MaintenancePlan,
    ServiceLevel,
    Survey,
)
from sync.entities.stock import PriceBook, PriceEntry, Product, StockCount, StockMove
from sync.entities.work import Appointment, Attachment, PartUsed, ServiceReport, Signature, TimeEntry, WorkOrder, WorkOrderTask

__all__ = [
    "Absence",
    "Account",
    "Activity",
    "Appointment",
    "Asset",
    "Attachment",
    "BusinessHours",
    "BusinessRule",
    "Campaign",
    "CampaignMember",
    "Case",
    "Conflict",
    "Contact",
    "Contract",
    "Depot",
    "Entitlement",
    "Incentive",
    "KnowledgeArticle",
    "Lead",
    "MaintenancePlan",
    "Offer",
    "Opportunity",
    "PartUsed",
    "Position",
    "PriceBook",
    "PriceEntry",
    "Product",
    "Profile",
    "Quota",
    "Quote",
    "Recommendation",
    "SalesOrder",
    "Segment",
    "ServiceLevel",
    "ServiceReport",
    "Shift",
    "Signature",
    "Site",
    "SkillHeld",
    "StockCount",
    "StockMove",
    "Survey",
    "Technician",
    "TimeEntry",
    "WorkOrder",
    "WorkOrderTask",
]
