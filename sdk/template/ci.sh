#!/bin/sh
# What has to pass, for any CI: built without warnings, tested, and found to keep weir's contract.
set -eu
cd "$(dirname "$0")"
cmake -S . -B build -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" "$@"
cmake --build build
ctest --test-dir build --output-on-failure --no-tests=error
if command -v weir >/dev/null; then
  weir stages check build/my-stage.so --answers answers
else
  echo "weir is not installed here: 'weir stages check' was left out" >&2
fi
