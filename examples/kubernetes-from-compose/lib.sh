# What the steps' programs share.

# missing TEXT... ends a check: the learner is told what is still to be done.
missing() { echo "$*"; exit 1; }

# need KIND NAME TEXT ends a check when the object does not exist.
need() { kubectl get "$1" "$2" >/dev/null 2>&1 || missing "$3"; }

# field KIND NAME JSONPATH prints a field of an object.
field() { kubectl get "$1" "$2" -o "jsonpath={$3}" 2>/dev/null; }

# ready DEPLOYMENT N ends a check unless so many pods are ready.
ready() {
  have=$(field deployment "$1" .status.readyReplicas)
  [ "${have:-0}" -ge "$2" ] || missing "Deployment $1 has ${have:-0} ready pods, not $2. 'kubectl describe pods' says what they wait for."
}

# page PATH [HOST] prints what the ingress answers.
page() { curl -sS -m 5 -H "Host: ${2:-guestbook.$DOMAIN}" "http://127.0.0.1:$INGRESS_PORT$1" 2>&1; }

# inside URL prints what a pod of web gets from another.
inside() {
  kubectl exec deployment/web -- python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())' "$1" 2>&1
}

# until_ok SECONDS COMMAND... repeats a command until it succeeds.
until_ok() {
  end=$(($(date +%s) + $1)); shift
  until "$@"; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 1
  done
}
