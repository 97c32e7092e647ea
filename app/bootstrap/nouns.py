"""The nouns that stand on engine and models: studio, assignments, chat, and what they learn."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from app.assignments.service import AssignmentService
from app.assignments.store import PgAssignmentStore
from app.bootstrap.models import ModelParts
from app.chat.agents import Parts as ChatParts
from app.chat.assembly import ChatAgents
from app.chat.lessons import PgChatLessons
from app.chat.model import CategorySource
from app.chat.service import ChatService, Sorting
from app.chat.store import PgChatStore
from app.chat.tokens import TokenStreams
from app.chat.written import CheckedPlans, PlannedModel
from app.gateway.service import utc_today
from app.learning.artifacts import ArtifactFolder
from app.learning.assignment import AssignmentLearner
from app.learning.assignment_serving import LearnedAssignments
from app.learning.assignment_training import AssignmentTraining
from app.learning.category import CATEGORY, CategoryLearner, CategoryLessons
from app.learning.category import FEWEST_ROWS as FEWEST_SORTED
from app.learning.category import NEW_ROWS as NEW_SORTED
from app.learning.chat_serving import LearnedCategoriser, LearnedRoutes, current_category, current_route
from app.learning.lesson_training import Course, LessonTraining
from app.learning.preference import PreferenceLearner
from app.learning.route import FEWEST_JUDGED, NEW_VERDICTS, ROUTE, RouteLearner, RouteLessons
from app.learning.service import ScorerRegistry
from app.learning.store import PgVersions
from app.runs.model_steps import MADE_KINDS
from app.studio.assembly import build_service
from app.studio.ways import find_ways

if TYPE_CHECKING:
    from app.chat.ports import Categoriser, RouteScorer
    from app.gateway.registry import Target
    from app.learning.ports import Learner
    from app.studio.service import StudioService
    from app.studio.ways import ModelWays

SECONDS_A_DAY = 86_400


class NounParts(ModelParts):
    """Make the nouns."""

    @cached_property
    def scorers(self) -> ScorerRegistry:
        """Versions of what was learned."""
        artifacts = ArtifactFolder(self.settings.storage.data_dir)
        learners: list[Learner] = [PreferenceLearner(), AssignmentLearner(), CategoryLearner(), RouteLearner()]
        return ScorerRegistry(PgVersions(self.engine), artifacts, learners)

    @cached_property
    def studio(self) -> StudioService:
        """Batches, likes, structures."""
        ways = self.studio_ways
        return build_service(self.settings, self.engine, self.redis, self.runs, self.scorers, ways=ways)

    @cached_property
    def studio_ways(self) -> ModelWays:
        """Which of the studio's parts models make."""

        def target_of(model: str) -> Target | None:
            targets = self.registry.route(model, self.providers, utc_today()).targets if self.providers else ()
            return targets[0] if targets else None

        return find_ways(self.settings.studio, target_of)

    @cached_property
    def assignments(self) -> AssignmentService:
        """Who should take a task."""
        store, settings = PgAssignmentStore(self.engine), self.settings.assignments
        return AssignmentService(store, settings, LearnedAssignments(self.scorers), self.assignment_training)

    @cached_property
    def assignment_training(self) -> AssignmentTraining:
        """What trains the assignments' scorer."""
        threshold = self.settings.assignments.feedback_threshold
        return AssignmentTraining(PgAssignmentStore(self.engine), self.scorers, self.runs, threshold=threshold)

    @cached_property
    def categoriser(self) -> Categoriser:
        """Who tells a chat's category without asking a model."""
        return LearnedCategoriser(current_category(lambda: self.scorers))

    @cached_property
    def route_scorer(self) -> RouteScorer:
        """Who knows where a cheaper model does."""
        return LearnedRoutes(current_route(lambda: self.scorers), self.prices, self.settings.chat.route_max_loss)

    @cached_property
    def chat_lessons(self) -> PgChatLessons:
        """What chats teach, and what routing them saved."""
        return PgChatLessons(self.engine)

    @cached_property
    def chat_trainings(self) -> tuple[LessonTraining, ...]:
        """What trains the scorers of chats."""
        letters, verdicts = CategoryLessons(self.chat_lessons), RouteLessons(self.chat_lessons)
        by_letters, by_verdicts = (
            Course(CATEGORY, FEWEST_SORTED, NEW_SORTED),
            Course(ROUTE, FEWEST_JUDGED, NEW_VERDICTS),
        )
        return (
            LessonTraining(by_letters, letters, self.scorers, lambda: self.runs),
            LessonTraining(by_verdicts, verdicts, self.scorers, lambda: self.runs),
        )

    @cached_property
    def chat(self) -> ChatService:
        """Chats and their sessions."""
        settings = self.settings.chat
        source = CategorySource(settings.category_source)
        sorting = Sorting(lambda: self.categoriser, source, settings.route_holdout)
        return ChatService(self._chat_store, self.runs, self.redis, sorting)

    @cached_property
    def _chat_store(self) -> PgChatStore:
        return PgChatStore(self.engine, ttl_s=self.settings.chat.session_ttl_days * SECONDS_A_DAY)

    @cached_property
    def chat_agents(self) -> ChatAgents:
        """The agents that answer chats."""
        settings = self.settings.chat
        parts = ChatParts(
            store=self._chat_store,
            prices=self.prices,
            streams=TokenStreams(lambda: self.loop_redis),
            categoriser=lambda: self.categoriser,
            scorer=lambda: self.route_scorer,
            told=lambda model: self.system_prompts.parts(model),  # noqa: PLW0108 - the registry is read when needed
            source=CategorySource(settings.category_source),
            history_tokens=settings.session_history_tokens,
            trial=settings.route_trial,
        )
        return ChatAgents(parts, CheckedPlans(self._plan_models, lambda: self.addons.names))

    def _plan_models(self) -> dict[str, PlannedModel]:
        """Name the models that a plan may use: those that are served, and that a step can ask."""
        today = utc_today()
        return {
            name: PlannedModel(model.purpose, model.kind)
            for name, model in self.registry.models.items()
            if model.kind in MADE_KINDS and self.registry.route(name, self.providers, today).targets
        }
