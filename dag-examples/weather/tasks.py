"""The Python tasks of the weather example. Standard library only."""

import csv
import datetime
import json
import pathlib

FIELDS = ("precipitation", "temp_max", "temp_min", "wind")
OUT = pathlib.Path("out")


def clean(path):
    """Reads the CSV and gives typed days grouped by calendar month, and counts what it dropped."""
    months = {number: [] for number in range(1, 13)}
    seen = set()
    dropped = 0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            day = typed(row)
            if day is None or day["date"] in seen:
                dropped += 1
                continue
            seen.add(day["date"])
            months[int(day["date"][5:7])].append(day)
    print(f"{len(seen)} days kept, {dropped} rows dropped")
    return {
        "rows": len(seen),
        "dropped": dropped,
        "months": [{"month": number, "days": days} for number, days in months.items() if days],
    }


def typed(row):
    """One day with real numbers, or None when the row is not a possible day."""
    try:
        date = datetime.date.fromisoformat(row["date"]).isoformat()
        numbers = {name: float(row[name]) for name in FIELDS}
    except (KeyError, TypeError, ValueError):
        return None
    possible = numbers["temp_min"] <= numbers["temp_max"] and numbers["precipitation"] >= 0
    return {"date": date, "weather": row["weather"], **numbers} if possible else None


def month(part):
    """Sums up one calendar month over all years."""
    days = part["days"]
    years = len({day["date"][:4] for day in days})
    kinds = {}
    for day in days:
        kinds[day["weather"]] = kinds.get(day["weather"], 0) + 1
    name = datetime.date(2000, part["month"], 1).strftime("%b")
    print(f"{name}: {len(days)} days in {years} years")
    return {
        "month": part["month"],
        "name": name,
        "days": len(days),
        "temp_min": round(sum(day["temp_min"] for day in days) / len(days), 3),
        "temp_max": round(sum(day["temp_max"] for day in days) / len(days), 3),
        "coldest": min(day["temp_min"] for day in days),
        "hottest": max(day["temp_max"] for day in days),
        "precipitation_per_year": round(sum(day["precipitation"] for day in days) / years, 3),
        "wet_days": sum(day["precipitation"] > 0 for day in days),
        "weather": dict(sorted(kinds.items())),
    }


def table(months, lines, rows, dropped):
    """Writes the table, after it has made sure that no line of the input was lost on the way."""
    counted = sum(entry["days"] for entry in months)
    if counted != rows or rows + dropped + 1 != lines:
        raise ValueError(f"{lines} lines, {rows} rows, {dropped} dropped, {counted} days do not fit")
    OUT.mkdir(exist_ok=True)
    (OUT / "months.json").write_text(json.dumps(months, indent=1) + "\n", encoding="utf-8")
    with open(OUT / "months.csv", "w", newline="", encoding="utf-8") as file:
        columns = [name for name in months[0] if name != "weather"]
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(months)
    wettest = max(months, key=lambda entry: entry["precipitation_per_year"])
    warmest = max(months, key=lambda entry: entry["temp_max"])
    return {"rows": rows, "months": months, "wettest": wettest["name"], "warmest": warmest["name"]}


def summary(outcome):
    """Says how the run has ended and which files it has left."""
    OUT.mkdir(exist_ok=True)
    left = sorted(path.name for path in OUT.iterdir() if path.name != "summary.txt")
    text = f"run {outcome}\n" + "".join(f"{name} {(OUT / name).stat().st_size} bytes\n" for name in left)
    (OUT / "summary.txt").write_text(text, encoding="utf-8")
    print(text, end="")
    return {"outcome": outcome, "files": left}
