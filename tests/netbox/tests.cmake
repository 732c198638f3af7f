# A real NetBox. The fixture brings the lab up once and down at the end, also after a failure.
set(lab ${CMAKE_CURRENT_SOURCE_DIR}/netbox/netbox-lab)
add_test(NAME netbox.up COMMAND ${lab} up --workers 3 --fast)
add_test(NAME netbox.down COMMAND ${lab} down)
set_tests_properties(netbox.up PROPERTIES FIXTURES_SETUP netbox_lab TIMEOUT 1800)
set_tests_properties(netbox.down PROPERTIES FIXTURES_CLEANUP netbox_lab TIMEOUT 120)
set_tests_properties(netbox.up netbox.down PROPERTIES LABELS netbox RUN_SERIAL ON)

set(environment "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
function(netbox_test name seconds)
  add_test(NAME netbox.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/netbox/test_${name}.py)
  set_tests_properties(netbox.${name} PROPERTIES LABELS netbox RUN_SERIAL ON TIMEOUT ${seconds} ENVIRONMENT "${environment}")
endfunction()

netbox_test(sync 900)
set_tests_properties(netbox.sync PROPERTIES FIXTURES_REQUIRED netbox_lab)
# These bring up a lab of their own, and take it down: each wants a NetBox that is short of something.
netbox_test(starved 2400)
netbox_test(outages 1800)
netbox_test(crash 1800)
netbox_test(poisoned 1800)
netbox_test(neighbour 1200)
netbox_test(two_hosts 1200)
# The packages, installed and removed again; made by package.make.
if(NOT WEIR_SANITIZE)
  netbox_test(package 900)
  set_tests_properties(netbox.package PROPERTIES FIXTURES_REQUIRED "netbox_lab;packages" SKIP_RETURN_CODE 77
    ENVIRONMENT "${environment};WEIR_PACKAGES=${CMAKE_BINARY_DIR}/packages-for-tests")
endif()
netbox_test(doctor 600)
set_tests_properties(netbox.doctor PROPERTIES FIXTURES_REQUIRED netbox_lab)
netbox_test(undo 600)
set_tests_properties(netbox.undo PROPERTIES FIXTURES_REQUIRED netbox_lab)
