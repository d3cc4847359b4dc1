"""The Python tasks of the flaky example. Standard library and the SDK only."""

import datetime
import json
import pathlib


def fetch(path):
    """Fails at its first two attempts. The count is in the run's store: it outlives an attempt."""
    from edgedag import store

    attempt = store.incr("fetch.attempts")
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt}: connection reset")
    return {"attempts": attempt, "bytes": pathlib.Path(path).stat().st_size}


def read(path):
    """All movies of the table."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def strict(path):
    """The movies, if every one has a title that is text."""
    movies = read(path)
    wrong = [movie["Title"] for movie in movies if not isinstance(movie["Title"], str)]
    if wrong:
        raise TypeError(f"{len(wrong)} titles are not text: {wrong}")
    return movies


def repair(path):
    """Titles become text, those without one go, and years that were read as 20xx go back to 19xx."""
    kept = []
    repaired = 0
    for movie in read(path):
        if movie["Title"] is None:
            continue
        year = datetime.datetime.strptime(movie["Release Date"], "%b %d %Y").year
        is_wrong = not isinstance(movie["Title"], str) or year > 2011
        repaired += is_wrong
        kept.append(
            {
                "title": str(movie["Title"]),
                "year": year - 100 if year > 2011 else year,
                "rating": movie["IMDB Rating"],
                "votes": movie["IMDB Votes"],
            }
        )
    print(f"{len(kept)} movies kept, {repaired} repaired")
    return {"movies": kept, "repaired": repaired}


def decades(movies, repaired):
    """The best rated movie with at least 1,000 votes of each decade, ties by title."""
    best = {}
    for movie in movies:
        if movie["rating"] is None or (movie["votes"] or 0) < 1000:
            continue
        decade = movie["year"] // 10 * 10
        rank = (-movie["rating"], movie["title"])
        if decade not in best or rank < (-best[decade]["rating"], best[decade]["title"]):
            best[decade] = movie
    result = [{"decade": decade, **best[decade]} for decade in sorted(best)]
    out = pathlib.Path("out")
    out.mkdir(exist_ok=True)
    (out / "decades.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return {"movies": len(movies), "repaired": repaired, "best": result}
