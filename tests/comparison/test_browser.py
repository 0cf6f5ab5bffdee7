"""The page in a browser, if there is one: Debian's chromium, driven by playwright from pip."""

import shutil
from datetime import UTC, datetime

import pytest
from written_runs import add_mistakes, write_run

sync_api = pytest.importorskip("playwright.sync_api")
from rednet.comparison.page import render  # noqa: E402
from rednet.comparison.reading import read_run  # noqa: E402
from rednet.comparison.run_folders import find_runs  # noqa: E402

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
]
NAMES = ["</script><b>x", 'it\'s "b"', "\u05d0\u05d1\u05d2", "long-" * 40, "plain"]


def write_page(root, runs):
    page = render([read_run(name, path, 12) for name, path in find_runs([str(runs)]).items()], NOW)
    path = root / "page.html"
    path.write_text(page)
    return path.as_uri()


NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    for number, name in enumerate(NAMES):
        name = name.replace("/", "\u2215")
        folder = write_run(root / "runs" / name, [20.0, 30.0 + number], number, 0.1 + number)
        add_mistakes(folder, "<i>cat</i>", "dog")
    write_run(root / "runs" / "not-begun", [])
    (write_run(root / "runs" / "damaged") / "metrics.jsonl").write_text("{")
    (root / "runs" / "crashed").mkdir()
    return write_page(root, root / "runs")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark", "phone"])
def view(request, browser, url):
    """The open page; at the end it has written no error and asked for nothing."""
    size = {"width": 390, "height": 844} if request.param == "phone" else None
    scheme = "light" if request.param == "light" else "dark"
    context = browser.new_context(color_scheme=scheme, viewport=size)
    page = context.new_page()
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.locator("#legend li").first.wait_for()  # the curves come after the first paint
    yield page
    assert problems == []
    assert {each for each in requests if not each.startswith("data:")} == {url}
    context.close()


def names(page):
    return page.locator("#table tbody .name").all_inner_texts()


def test_sorting_searching_and_ticking(view):
    assert len(names(view)) == 8 and names(view)[0] == "plain"
    view.get_by_role("button", name="Top-1", exact=True).click()
    assert view.locator("th[aria-sort=ascending]").inner_text().startswith("Top-1")
    assert names(view)[0].startswith("<")
    view.get_by_role("searchbox").fill("top1>31 lr=2.1")
    assert names(view) == ["\u05d0\u05d1\u05d2"]
    view.get_by_role("searchbox").fill("nothing of the kind")
    assert names(view) == [] and view.get_by_text("No run matches").is_visible()
    view.get_by_role("searchbox").fill("")
    view.get_by_role("button", name="None").click()
    assert view.locator("#legend li").count() == 0
    view.get_by_label("Compare plain").check()
    assert view.locator("#legend li").all_inner_texts() == ["plain"]
    view.get_by_role("button", name="All", exact=True).click()
    assert view.locator("#legend li").count() == 8


def test_every_section_is_drawn(view):
    for card in view.locator(".card").all():  # they are drawn when they come near the screen
        card.scroll_into_view_if_needed()
        card.locator("svg").wait_for()
    view.wait_for_function("document.querySelector('#tradeoff-chart svg path')")
    assert view.locator(".plot svg").first.locator("path[stroke^='var(--s']").count() >= 5
    view.locator("#log").check()
    view.locator("#over").select_option("seconds")
    assert "s" in view.locator("#cursor-text").inner_text()
    assert view.locator("#settings-table tbody tr").count() == 2
    assert view.locator("#confusions-table tbody th").first.inner_text() == "<i>cat</i> as dog"
    loaded = "[...document.querySelectorAll('.mistake img')].every((each) => each.naturalWidth > 9)"
    view.locator(".mistake").last.scroll_into_view_if_needed()
    view.wait_for_function(loaded)
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert view.locator("b, i, script:not([type])").filter(has_text="cat").count() == 0


def test_the_theme(view):
    ground = "getComputedStyle(document.body).backgroundColor"
    before = view.evaluate(ground)
    button = view.get_by_role("button", name="Dark")
    pressed = button.get_attribute("aria-pressed")
    button.click()
    assert view.evaluate(ground) != before
    assert button.get_attribute("aria-pressed") != pressed
    after = view.evaluate(ground)
    view.reload()
    assert view.evaluate(ground) == after
    view.evaluate("localStorage.clear()")


def test_by_keyboard_alone(view):
    press, focused = view.keyboard.press, "document.activeElement"
    press("Tab")
    assert view.evaluate(f"{focused}.textContent") == "Skip to the runs"
    press("/")
    assert view.evaluate(f"{focused}.id") == "search"
    view.keyboard.type("plain")
    assert names(view) == ["plain"]
    for _ in range(40):
        press("Tab")
        if view.evaluate(f"{focused}.type") == "checkbox":
            break
    press("Space")
    assert view.locator("#table tbody input").is_checked() is False
    assert view.evaluate(f"{focused}.type") == "checkbox"  # a redrawn table keeps the focus
    press("Tab")
    press("Enter")
    assert view.locator("#details").is_visible()
    assert view.locator("#details-name").inner_text() == "plain"
    press("Escape")
    assert not view.locator("#details").is_visible()
    assert view.evaluate(f"{focused}.className") == "name"
    view.locator("#cursor").focus()
    press("Home")
    assert view.locator("#cursor-text").inner_text() == "epoch 1"


def test_everything_has_a_name(view):
    """Controls, images and tables have names for those who do not see them."""
    nameless = """[...document.querySelectorAll("button, input, select, a, img, summary")]
        .filter((each) => !(each.textContent.trim() || each.ariaLabel || each.alt
          || [...(each.labels || [])].some((label) => label.textContent.trim())))
        .map((each) => each.outerHTML)"""
    assert view.evaluate(nameless) == []
    assert view.evaluate("document.documentElement.lang") == "en"


def test_the_dialog_of_a_damaged_run(view):
    view.get_by_role("button", name="damaged").click()
    assert "metrics.jsonl is damaged; passed over: line 1" in view.locator("#details").inner_text()
    view.get_by_role("button", name="Close").click()
    view.get_by_role("button", name="plain").click()
    view.locator("#details summary").click()
    assert "model.options.width" in view.locator("#details").inner_text()


AT_LOAD = """addEventListener("load", () => {
    const count = (selector) => document.querySelectorAll(selector).length;
    window.atLoad = [count("#table tbody tr"), count("svg"), typeof vega];
})"""


def test_two_hundred_runs_are_ready_at_once(browser, tmp_path):
    """The load event waits for the first rows only; seconds are not compared: machines differ."""
    for number in range(200):
        tops = [60 + number / 20 - 30 / epoch for epoch in range(1, 91)]
        write_run(tmp_path / "runs" / f"run-{number}", tops, number % 5, 0.1 * (1 + number % 4))
    page = browser.new_page()
    page.add_init_script(AT_LOAD)
    page.goto(write_page(tmp_path, tmp_path / "runs"))
    assert page.evaluate("window.atLoad") == [40, 0, "undefined"]
    page.wait_for_function("performance.getEntriesByName('drawn').length > 0")
    rows = page.locator("#table tbody tr")
    sync_api.expect(rows).to_have_count(200)
    assert len(set(names(page))) == 200
    page.get_by_role("searchbox").fill("run-19")
    sync_api.expect(rows).to_have_count(11)
    page.get_by_role("searchbox").fill("")
    sync_api.expect(rows).to_have_count(200)
    rows.last.get_by_role("checkbox").check()  # a full table is redrawn in full
    assert rows.count() == 200
    assert rows.last.get_by_role("checkbox").evaluate("(box) => document.activeElement === box")
    assert (tmp_path / "page.html").stat().st_size < 4e6
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    drawn = page.evaluate("performance.getEntriesByName('drawn')[0].startTime")
    print(f"200 runs: load event after {loaded:.0f} ms, first charts after {drawn:.0f} ms")
