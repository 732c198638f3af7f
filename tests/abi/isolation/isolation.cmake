# A stage in a process of its own: the loader's plugins once more, and plugins that no process survives.
set(isolation_tests ${CMAKE_CURRENT_LIST_DIR})
set(isolation_dir ${CMAKE_BINARY_DIR}/tests/abi/isolation)

foreach(source deadly.c ctor.c greedy.cpp)
  string(REGEX REPLACE "\\..*" "" name ${source})
  weir_add_stage(isolation_${name} SOURCES ${isolation_tests}/plugins/${source} LIBRARIES weir_warnings Threads::Threads)
  set_target_properties(isolation_${name} PROPERTIES OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${isolation_dir}/plugins)
endforeach()

# As much of a weir as these tests need of it: its command stage-process.
add_executable(isolation_child ${isolation_tests}/child/main.cpp)
target_link_libraries(isolation_child PRIVATE weir_plugin weir_warnings)
set_target_properties(isolation_child PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${isolation_dir})

weir_tests(abi isolation LIBRARIES weir_plugin Threads::Threads)
target_compile_definitions(abi_isolation PRIVATE LOADER_PLUGINS="${loader_plugins_dir}"
                           ISOLATION_PLUGINS="${isolation_dir}/plugins" ISOLATION_CHILD="${isolation_dir}/isolation_child")
add_dependencies(abi_isolation isolation_child isolation_deadly isolation_ctor isolation_greedy loader_good loader_behaves
                 loader_extends loader_throws loader_wrapped loader_no_symbol)
