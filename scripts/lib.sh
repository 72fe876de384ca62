# Sourced by the scripts here (bash). A server that a script started is known by a pid file that
# holds its pid and its start time, so a pid that the system gave to somebody else is never touched.
# shellcheck shell=bash

say() {
        printf '%s\n' "$*" >&2
}

die() {
        say "${0##*/}: $*"
        exit 1
}

usage_error() {
        say "${0##*/}: $* (see ${0##*/} --help)"
        exit 64
}

# process_started PID: its start time in clock ticks since the boot; fails when there is none.
process_started() {
        local stat
        # The name in the second field may hold blanks and parentheses: cut behind the last one.
        stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
        stat=${stat##*) }
        # shellcheck disable=SC2086 # split into fields on purpose
        set -- $stat
        [[ $1 != Z ]] && printf '%s\n' "${20}"
}

process_save() {
        printf '%s %s\n' "$2" "$(process_started "$2")" >"$1"
}

# process_pid FILE: prints the pid when that very process still runs.
process_pid() {
        local pid started
        [[ -f $1 ]] && read -r pid started <"$1" &&
                [[ -n $started && $(process_started "$pid") == "$started" ]] && printf '%s\n' "$pid"
}

# process_gone FILE SECONDS: waits until it has ended; fails when it has not by then.
process_gone() {
        local deadline=$((SECONDS + $2 + 1))
        while process_pid "$1" >/dev/null; do
                ((SECONDS < deadline)) || return 1
                sleep 0.05
        done
}

# process_stop FILE SIGNAL SECONDS: asks it to end, then ends it, and removes the file.
process_stop() {
        local pid
        if pid=$(process_pid "$1"); then
                kill -s "$2" "$pid" 2>/dev/null || true
                if ! process_gone "$1" "$3"; then
                        kill -s KILL "$pid" 2>/dev/null || true
                        process_gone "$1" 10 || die "process $pid does not end"
                fi
        fi
        rm -f "$1"
}

# need_ports PORT...: fails for the first on which somebody listens.
need_ports() {
        local used
        used=$(python3 - "$@" 2>&1 <<'PYTHON'
import errno, socket, sys
for port in map(int, sys.argv[1:]):
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        sys.exit(f"port {port} is in use" if in_use else f"port {port}: {error.strerror}")
PYTHON
        ) || die "$used"
}

# free_ports N: prints N ports of the loopback that nobody listens on, one a line.
free_ports() {
        python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
for s in sockets:
    print(s.getsockname()[1])
PYTHON
}
