// A weir that knows nothing but its command stage-process: quicker to link than all of it.
#include "core/plugin/isolation.hpp"

int main() { return weir::plugin::stage_process(3); }
