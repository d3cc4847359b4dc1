"""The Python tasks of the bulk example. Standard library only."""

import json
import pathlib


def load(path):
    """All flights as records with readable members: about 30 MB as JSON text."""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    flights = [
        {
            "number": number,
            "delay_minutes": row["delay"],
            "distance_miles": row["distance"],
            "hour": int(row["time"]) % 24,
            "minute_of_day": round(row["time"] * 60),
            "is_late": row["delay"] > 15,
        }
        for number, row in enumerate(rows)
    ]
    print(f"{len(flights)} flights")
    return {"count": len(flights), "flights": flights}


def by_hour(flights):
    """Flights and minutes of delay for each hour of the day."""
    hours = [{"hour": hour, "flights": 0, "late": 0, "delay_minutes": 0} for hour in range(24)]
    for flight in flights:
        entry = hours[flight["hour"]]
        entry["flights"] += 1
        entry["late"] += flight["is_late"]
        entry["delay_minutes"] += flight["delay_minutes"]
    return hours


def size(count):
    """Only the one number."""
    return count


def report(hours, distances, count):
    """Both tables together, after a check that neither has lost a flight."""
    totals = [sum(entry["flights"] for entry in table) for table in (hours, distances)]
    if totals != [count, count]:
        raise ValueError(f"{count} flights became {totals}")
    worst = max(hours, key=lambda entry: entry["late"] / max(1, entry["flights"]))
    result = {"flights": count, "hours": hours, "distances": distances, "worst_hour": worst["hour"]}
    out = pathlib.Path("out")
    out.mkdir(exist_ok=True)
    (out / "report.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result
