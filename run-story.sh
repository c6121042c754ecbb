cd /tmp/story/build/run; export COOKBOOK_FOLDERS=/tmp/story/build/cookbooks PYTHONDONTWRITEBYTECODE=1
exec unshare --mount --pid --fork --kill-child --mount-proc /tmp/story/.venv/bin/python -m pytest -s -p no:cacheprovider -W default "tests/cookbooks/story.py::test_from_empty_machines_to_a_job_and_back[$1]"
