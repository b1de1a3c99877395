from __future__ import annotations

from controlplane.formats.templates import YEAR_AHEAD, functions_in, with_clock_ahead


def test_functions_are_told_from_fields_variables_texts_and_comments() -> None:
    source = '{{- $now := .Values.lookup -}} lookup {{/* lookup "}}" */}} {{ include "now" (dict "a" .now) }} {{ `lookup` | quote }}'
    assert functions_in(source) == {"include", "dict", "quote"}


def test_functions_in_pipelines_parentheses_and_after_trim_marks_are_found() -> None:
    assert functions_in('{{-(lookup "v1" "Pod" "" "")}}{{ "x" |now-}}') == {"lookup", "now"}


def test_only_calls_of_now_are_moved() -> None:
    assert with_clock_ahead('a: {{ now | date "2006" }} # now {{ .now }}') == (
        f'a: {{{{ {YEAR_AHEAD} | date "2006" }}}} # now {{{{ .now }}}}'
    )


def test_an_action_that_never_ends_is_read_to_the_end_of_the_text() -> None:
    assert functions_in("{{ lookup ") == {"lookup"}
