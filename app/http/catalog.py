"""What documents can name: templates, models, addons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.gateway.listing import Surroundings
from app.gateway.listing import list_models as list_registry
from app.gateway.service import utc_today
from app.http.application import application
from app.http.resource import Resource, Route
from app.http.workflow_schemas import AddonSchema, AddonsSchema, ModelsSchema, TemplatesSchema
from app.providers.assembly import SUPPORTED
from app.runs.model_steps import MADE_KINDS

if TYPE_CHECKING:
    from app.workflows.addon import Addon

resource = Resource("catalog", "What a workflow document can name.")


@resource.serves(Route(path="/templates", answer=TemplatesSchema))
def list_templates() -> dict[str, Any]:
    """List the templates, with the variables each takes."""
    templates = [template.to_json() for template in application().templates.all]
    return {"templates": templates, "count": len(templates)}


@resource.serves(Route(path="/models", answer=ModelsSchema))
def list_models() -> dict[str, Any]:
    """List the models by logical name: who serves each now, and at what price."""
    app = application()
    models = list_registry(app.registry, Surroundings(app.providers, SUPPORTED, MADE_KINDS, utc_today()))
    return {"models": [model.to_json() for model in models], "count": len(models)}


@resource.serves(Route(path="/addons", answer=AddonsSchema))
def list_addons() -> dict[str, Any]:
    """List the names that `config.addons` can hold; six more, which the templates name, work too."""
    names = application().addons.counted
    return {"addons": list(names), "count": len(names)}


@resource.serves(Route(path="/addons/<name>", answer=AddonSchema))
def get_addon(name: str) -> dict[str, Any]:
    """Show what an addon tells a model."""
    return _shown(application().addons.find(name))


def _shown(addon: Addon) -> dict[str, Any]:
    return {
        "name": addon.name,
        "purpose": addon.purpose,
        "group": addon.group,
        "instructions": list(addon.instructions),
    }
