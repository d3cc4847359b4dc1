#!/bin/sh
# Writes new secrets for compose.yaml into ./secrets, and changes none that is there.
set -eu
case ${1:-} in -h | --help) echo "usage: make-secrets.sh    writes ./secrets beside compose.yaml"; exit 0 ;; esac
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { # file, content
  [ -s "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"
}
keep edgedag_token "$(random)"
keep edgedag_api_keys "default=$(random)"
keep grafana_password "$(random)"
keep postgres_password "$(random)"
keep database_url "postgres://edgedag:$(cat secrets/postgres_password)@postgres:5432/edgedag"
keep rabbitmq_password "$(random)"
keep amqp_url "amqp://edgedag:$(cat secrets/rabbitmq_password)@rabbitmq:5672/%2F"
keep rabbitmq_definitions.json "{\"users\": [{\"name\": \"edgedag\", \"password\": \"$(cat secrets/rabbitmq_password)\", \"tags\": \"\"}], \"vhosts\": [{\"name\": \"/\"}], \"permissions\": [{\"user\": \"edgedag\", \"vhost\": \"/\", \"configure\": \".*\", \"write\": \".*\", \"read\": \".*\"}]}"
echo "secrets: $(cd secrets && ls | tr '\n' ' ')"
