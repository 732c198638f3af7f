// Nothing: it is here so that the tests' precompiled header has a target to belong to.
int main() { return 0; }
