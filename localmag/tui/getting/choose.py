"""Which model to get: this machine in a line, the builds that fit it in a table, the demo for now."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from localmag import catalogue
from localmag.errors import LocalmagError
from localmag.sanitize import sanitize
from localmag.tui.getting import offers
from localmag.tui.getting.offers import Models, Offer, Sight
from localmag.tui.getting.table import head, row
from localmag.tui.screens.help import Keys
from localmag.tui.screens.once import Once

LOW = 18
"""Rows under which the table needs the place of all that can be missed."""


class Table(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take(False)", "Get it"),
        Binding("enter", "take(True)", "Open it"),
    ]

    def action_take(self, here: bool) -> None:
        self.action_select()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "take" or not isinstance(self.screen, ChooseScreen):
            return super().check_action(action, parameters)
        offer = self.screen.highlighted
        return parameters == (bool(offer and offer.usable),)


class ChooseScreen(Once, Screen[Offer | None]):
    """Dismissed with the build that was chosen (the demo's among them), or None to leave."""

    KEYS: ClassVar[Keys] = (
        ("Up, Down", "another build; below the table stands what it takes"),
        ("Enter", "get it, or open it if it is here: first comes a question"),
        ("D", "the demo, which is here already"),
        ("R", "look again, where the look at this machine failed"),
        ("Esc, Q", "back to the chat; quit where there is none yet"),
        ("Ctrl+P", "all commands, themes"),
        ("Ctrl+Q", "quit"),
    )
    CSS_PATH = ["choose.tcss", "keys.tcss"]  # noqa: RUF012 - as Textual has it
    AUTO_FOCUS = "Table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "demo", "Try the demo"),
        Binding("escape,q", "leave(True)", "Quit", show=False),  # the app's own key says so
        Binding("escape,q", "leave(False)", "Back"),
        Binding("r", "look", "Look again"),
    ]

    def __init__(
        self,
        models: Models,
        *,
        first: bool,
        opened: str = "",
        preferred: str = "",
        seen: Sight | None = None,
    ) -> None:
        """`first`: nothing is here yet, so leaving quits. `opened` is the title of the model that is open,
        `preferred` the build to begin at, by name. `seen` is shown until there has been another look.
        """
        super().__init__()
        self._models = models
        self._first = first
        self._opened = opened
        self._preferred = preferred
        self.sight = seen

    def compose(self) -> ComposeResult:
        yield Static(self._welcome(), id="choose-title", markup=False)
        yield Static("Looking at what this machine can hold…", id="choose-machine", markup=False)
        yield Static("", id="choose-note", markup=False)
        yield Static("", id="choose-head", markup=False)
        yield Table(compact=True)
        yield Static("", id="choose-why", markup=False)
        yield Footer(show_command_palette=False)

    def _welcome(self) -> str:
        if not self._first:
            return "Get a model"
        if not self._models.wish.model:
            return "Welcome to localmag. No Magistral is here yet."
        model, _ = catalogue.find(self._models.wish.model)
        return f"{sanitize(model.title)} is not on this machine yet."

    def on_mount(self) -> None:
        if self.sight:
            self._show(self.sight)
        self.action_look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "leave":
                return parameters == (self._first,)
            case "demo":
                return self._first or self._opened != offers.demo().model.title
            case "look":
                return self.sight is not None and not self.sight.offers
            case _:
                return True

    @property
    def highlighted(self) -> Offer | None:
        option = self.query_one(Table).highlighted_option
        return self._offer(option)

    # ── what there is ─────────────────────────────────────────────────────────────────────────────

    @work(thread=True, exclusive=True)
    def action_look(self) -> None:
        try:
            sight = self._models.look()
        except LocalmagError as exc:
            sight = Sight(str(exc), (), ())
        self.app.call_from_thread(self._seen, sight)

    def _seen(self, sight: Sight) -> None:
        known = bool(self.sight and self.sight.offers)
        if self in self.app.screen_stack and (sight.offers or not known):  # else what was seen before stays
            self._show(sight)

    def _show(self, sight: Sight) -> None:
        self.sight = sight
        self.query_one("#choose-machine", Static).update(sanitize(sight.machine))
        notes = list(sight.notes)
        if offers.offline():
            notes.insert(
                0, "Offline: HF_HUB_OFFLINE is set, so nothing can be fetched. The demo needs no network."
            )
        if not self._first:
            notes.append("What the open model holds counts as taken.")
        note = self.query_one("#choose-note", Static)
        note.update(sanitize("\n".join(notes)))
        note.set_class(bool(notes), "-said")
        self._fill()
        self.refresh_bindings()

    def _fill(self) -> None:
        """The table, anew: when it is known, and when the width changes."""
        if self.sight is None:
            return
        table = self.query_one(Table)
        before = table.highlighted_option
        width = table.scrollable_content_region.width or self.app.size.width - 4
        self.query_one("#choose-head", Static).update(head(width))
        table.clear_options()
        model = None
        for offer in (*self.sight.offers, offers.demo()):
            if offer.model is not model:
                model = offer.model
                table.add_option(Option(_heading(offer), disabled=True))
            table.add_option(Option(row(offer, width), id=offer.name))
        self._highlight(before.id if before else None)

    def _highlight(self, name: str | None) -> None:
        """The row that was highlighted before, or that is preferred, else the one chosen, else the first."""
        assert self.sight
        table = self.query_one(Table)
        there = {option.id: place for place, option in enumerate(table.options) if option.id}
        chosen = next((o.name for o in self.sight.offers if o.chosen), None)
        for wanted in (name, self._preferred, self._wished, chosen):
            if wanted in there:
                table.highlighted = there[wanted]
                break
        else:
            table.highlighted = next(iter(there.values()))
        table.call_after_refresh(table.scroll_to_highlight)

    @property
    def _wished(self) -> str | None:
        """The build that was named on the command line, if any was."""
        wish = self._models.wish
        if not self._first or not wish.model or not wish.quant:
            return None
        model, _ = catalogue.find(wish.model)
        return next((model.called(b) for b in model.builds if b.has_quant(wish.quant)), None)

    def _offer(self, option: Option | None) -> Offer | None:
        if option is None or self.sight is None:
            return None
        return next((o for o in (*self.sight.offers, offers.demo()) if o.name == option.id), None)

    # ── what the user does ────────────────────────────────────────────────────────────────────────

    def on_resize(self) -> None:
        self.set_class(self.app.size.height < LOW, "-low")
        self.call_after_refresh(self._fill)

    @on(OptionList.OptionHighlighted)
    def _explain(self) -> None:
        offer = self.highlighted
        self.query_one("#choose-why", Static).update(
            _why(offer, brief=self.has_class("-low")) if offer else ""
        )
        self.refresh_bindings()

    @on(OptionList.OptionSelected)
    def _take(self) -> None:
        offer = self.highlighted
        if offer is None:
            return
        if offer.fits:
            self.dismiss(offer)
        else:
            self.notify("This one does not fit: choose another.", severity="warning", timeout=3)

    def action_demo(self) -> None:
        self.dismiss(offers.demo())

    def action_leave(self, first: bool) -> None:
        self.dismiss(None)


def _heading(offer: Offer) -> Content:
    return Content.assemble((sanitize(offer.model.title), "bold"))


def _why(offer: Offer, *, brief: bool) -> Content:
    mark = ("Recommended for this machine. " if offer.chosen else "") if offer.fits else "Does not fit. "
    if brief:
        return Content(sanitize(mark + offer.why))
    licence = f"  licence {offer.model.licence}"
    return Content.assemble(
        (sanitize(offer.title), "bold"), (sanitize(licence), "dim"), "\n", mark, sanitize(offer.why)
    )
