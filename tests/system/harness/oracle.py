"""The promise, checked: nothing lost, nothing doubled, nothing committed that is not resolved."""


def check_resolved(site):
    """Every message that was produced is in `messages`, byte for byte, or in `rejected`, or is a
    tombstone; the commits are the ends of the log and bear our mark."""
    saved = site.saved()
    rejected = site.rejected()
    produced = {place for place, record in site.produced.items() if record.value is not None}

    lost = produced - saved.keys() - rejected.keys()
    assert not lost, f"{len(lost)} lost, such as {sorted(lost)[:5]}"
    invented = (saved.keys() | rejected.keys()) - produced
    assert not invented, f"{len(invented)} invented, such as {sorted(invented)[:5]}"
    for place, (_, payload) in saved.items():
        assert payload == site.produced[place].value, f"{place} was changed"

    ends = {p: (high, "ackd") for p, (_, high) in site.kafka.ends(site.topic).items()}
    assert site.kafka.committed(site.group, site.topic) == ends


def check_fences(site):
    """Each source's fence is the end of its log."""
    rows = site.database.rows(
        "SELECT partition, next_offset FROM partitions WHERE topic = %s AND retired_at IS NULL",
        site.topic,
    )
    assert dict(rows) == {p: high for p, (_, high) in site.kafka.ends(site.topic).items()}
